"""Quantised ONNX graphs: against arithmetic in whole numbers, and against PyTorch."""

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from small_graphs import (
    SmallDetector,
    WideSampling,
    make_graph,
    open_graph,
    operators,
    run_graph,
)
from torch import nn

from mmfdta.apis.export.integers import Grid, to_integers


def feeds_of(model, *batches):
    name = model.graph.input[0].name
    return [{name: batch} for batch in batches]


@pytest.fixture(scope='module')
def case():
    torch.manual_seed(0)
    network = SmallDetector()
    frames = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8)
    model = make_graph(network, frames)
    whole = to_integers(model, 'queries', feeds_of(model, frames.numpy()))
    with torch.no_grad():
        return model, whole, frames.numpy(), network(frames)


def test_a_grid_covers_its_range_and_holds_zero():
    for low, high in ((-1.0, 3.0), (0.5, 2.0), (-2.0, -1.0), (0.0, 0.0)):
        grid = Grid.of(low, high)
        first = float(grid.scale) * (0 - int(grid.zero))
        last = float(grid.scale) * (255 - int(grid.zero))
        assert first <= min(low, 0) + float(grid.scale) / 2
        assert last >= max(high, 0) - float(grid.scale) / 2


def test_a_linear_layer_is_the_product_of_whole_numbers():
    """Exact arithmetic in Python's way is the oracle."""
    layer = nn.Linear(8, 4)
    x = torch.randn(5, 3, 8)
    model = make_graph(layer, x)
    whole = to_integers(model, 'queries', feeds_of(model, x.numpy()))
    (found,) = run_graph(whole, x.numpy())

    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    step = np.float32((high - low) / 255)
    zero = np.rint(-low / step)
    q = np.clip(np.rint(x.numpy() / step) + zero, 0, 255) - zero
    weight, bias = (p.detach().numpy() for p in (layer.weight, layer.bias))
    steps = np.abs(weight).max(1) / 127
    w = np.rint(weight / steps[:, None])
    expected = (q.astype(np.int64) @ w.T.astype(np.int64)) * (step * steps) + bias
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_convolution_is_the_one_of_the_rounded_numbers():
    layer = nn.Conv2d(3, 4, 3, padding=1, stride=2)
    x = torch.randn(1, 3, 9, 7)
    model = make_graph(layer, x)
    whole = to_integers(model, 'queries', feeds_of(model, x.numpy()))
    (found,) = run_graph(whole, x.numpy())

    with torch.no_grad():
        exact = layer(x)
        grid = Grid.of(float(x.min()), float(x.max()))
        scale, zero = float(grid.scale), int(grid.zero)
        rounded = torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255)
        steps = layer.weight.abs().amax((1, 2, 3)) / 127
        layer.weight /= steps[:, None, None, None]
        layer.weight.round_().mul_(steps[:, None, None, None])
        expected = layer(rounded).numpy()
    step = (float(exact.max()) - float(exact.min())) / 255
    # The result is rounded to its own grid, whose ends the exact one gave.
    inside = expected.clip(float(exact.min()), float(exact.max()))
    assert np.abs(found - inside).max() <= step * 0.51


def test_what_tokens_add_up_to_is_not_rounded():
    """A residual beside a layer that gives nothing comes out as it went in."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)

        def forward(self, x):
            return x + self.linear(x)

    x = torch.randn(2, 3, 8)
    model = make_graph(Residual(), x)
    whole = to_integers(model, 'queries', feeds_of(model, x.numpy()))
    assert operators(whole)['QuantizeLinear'] == 1
    np.testing.assert_array_equal(run_graph(whole, x.numpy())[0], x.numpy())


def test_every_product_with_weights_runs_in_whole_numbers(case, tmp_path):
    """Counted in what onnxruntime makes of the graph."""
    whole = case[1]
    onnx.checker.check_model(whole, full_check=True)
    assert {node.domain for node in whole.graph.node} == {''}
    open_graph(whole, tmp_path / 'optimised.onnx')
    run = operators(onnx.load(tmp_path / 'optimised.onnx'))
    assert run['QLinearConv'] == 3
    assert run['MatMulIntegerToFloat'] == 4
    assert run['QLinearAdd'] == 1
    assert run['Conv'] + run['FusedConv'] == 0
    # The products of attention, and the layers of the head.
    assert run['MatMul'] + run['FusedMatMul'] + run['Gemm'] == 4
    assert run['Relu'] <= 2  # of the head and of the tokens


def test_results_are_near(case):
    model, whole, frames, (boxes, scores) = case
    found_boxes, found_scores = run_graph(whole, frames)
    spread = float(scores.std())
    assert np.abs(found_scores - scores.numpy()).mean() < 0.1 * spread
    assert np.abs(found_boxes - boxes.numpy()).mean() < 0.1


def test_places_that_are_sampled_are_not_rounded():
    """255 steps for 3000 columns would be 12 columns each."""
    network = WideSampling()
    tokens, centre = torch.randn(2, 6, 8), torch.rand(2, 6, 1, 2)
    centre = centre * torch.tensor([network.width - 1.0, 0.0])
    model = make_graph(network, tokens, centre)
    names = [value.name for value in model.graph.input]
    feed = dict(zip(names, (tokens.numpy(), centre.numpy()), strict=True))
    whole = to_integers(model, 'queries', [feed])
    assert operators(whole)['QuantizeLinear'] == 3  # what the three layers take
    with torch.no_grad():
        expected = network(tokens, centre).numpy()
    (found,) = run_graph(whole, tokens.numpy(), centre.numpy())
    assert 0 < np.abs(found - expected).max() < 0.1


def test_no_frame_is_refused(case):
    with pytest.raises(ValueError, match='no frame to calibrate on'):
        to_integers(case[0], 'queries', [])


def test_weights_take_a_quarter(case):
    model, whole = case[:2]
    sizes = Counter()
    for name, graph in (('before', model.graph), ('after', whole.graph)):
        for x in graph.initializer:
            sizes[name] += onnx.numpy_helper.to_array(x).nbytes
    assert sizes['after'] < 0.5 * sizes['before']
