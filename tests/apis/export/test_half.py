"""Half precision of ONNX graphs, beside PyTorch in single precision."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from small_graphs import (
    SmallDetector,
    WideSampling,
    make_graph,
    operators,
    run_graph,
)

from mmfdta.apis.export.half import to_half


@pytest.fixture(scope='module')
def case():
    torch.manual_seed(0)
    network = SmallDetector()
    frames = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8)
    model = make_graph(network, frames)
    with torch.no_grad():
        return model, to_half(model, 'queries'), frames.numpy(), network(frames)


def types_of(model):
    found = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*found.input, *found.value_info, *found.output]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {x.name: x.data_type for x in found.initializer}


def test_products_of_body_are_half_and_those_of_the_head_are_not(case):
    model, half, _, _ = case
    types = types_of(half)
    products = [n for n in half.graph.node if n.op_type in ('Conv', 'MatMul', 'Gemm')]
    kinds = [types[node.input[0]] for node in products]
    # 3 convolutions, 4 linear layers and 2 products of attention; 2 layers of the head
    assert kinds.count(TensorProto.FLOAT16) == 9
    assert kinds.count(TensorProto.FLOAT) == 2
    onnx.checker.check_model(half, full_check=True)
    assert [types[x.name] for x in half.graph.output] == [TensorProto.FLOAT] * 2
    assert types[half.graph.input[0].name] == TensorProto.UINT8
    assert operators(half)['Conv'] == operators(model)['Conv']


def test_normalisation_and_softmax_stay_single(case):
    half = case[1]
    types = types_of(half)
    for node in half.graph.node:
        if node.op_type in ('Softmax', 'LayerNormalization'):
            assert types[node.input[0]] == types[node.output[0]] == TensorProto.FLOAT


def test_a_backbone_is_cast_once(case):
    """Between its convolutions nothing goes back to float32."""
    half = case[1]
    casts = operators(half)['Cast'] - operators(case[0])['Cast']
    # Into the stem; out of the pictures into the tokens; then around two norms, the
    # softmax and the head: each in and out, as PyTorch's autocast has it.
    assert casts <= 12


def test_results_are_near_and_coordinates_are_exact_to_a_hundredth(case):
    _, half, frames, (boxes, scores) = case
    found_boxes, found_scores = run_graph(half, frames)
    # float16 would round 95,000 to a multiple of 64, and has no such number.
    assert np.abs(found_boxes - boxes.numpy()).max() < 0.02
    assert np.abs(found_scores - scores.numpy()).max() < 2e-3
    assert np.abs(found_scores - scores.numpy()).max() > 0


def test_places_that_are_sampled_stay_single():
    """In float16 a column beyond 2048 is a multiple of two."""
    network = WideSampling()
    tokens, centre = torch.randn(2, 6, 8), torch.rand(2, 6, 1, 2)
    centre = centre * torch.tensor([network.width - 1.0, 0.0])
    model = make_graph(network, tokens, centre)
    assert 'Scan' not in operators(model)
    half = to_half(model, 'queries')
    onnx.checker.check_model(half, full_check=True)
    with torch.no_grad():
        expected = network(tokens, centre).numpy()
    (found,) = run_graph(half, tokens.numpy(), centre.numpy())
    assert 0 < np.abs(found - expected).max() < 5e-3
    types = types_of(half)
    products = [n for n in half.graph.node if n.op_type in ('MatMul', 'Gemm')]
    kinds = [types[node.input[0]] for node in products]
    # The three layers; centres of x and of y, and rows of the table by their shares.
    assert kinds.count(TensorProto.FLOAT16) == 3
    assert kinds.count(TensorProto.FLOAT) == 3


def test_what_is_taken_inside_of_a_body_stays_single():
    """A loop's body sees the tensors around it."""
    make = onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [
            onnx.helper.make_node('Identity', ['go_on'], ['on']),
            onnx.helper.make_node('Add', ['sum', 'product'], ['next']),
        ],
        'body',
        [
            make('number', TensorProto.INT64, []),
            make('go_on', TensorProto.BOOL, []),
            make('sum', TensorProto.FLOAT, [2, 2]),
        ],
        [make('on', TensorProto.BOOL, []), make('next', TensorProto.FLOAT, [2, 2])],
    )
    weights = onnx.numpy_helper.from_array(np.eye(2, dtype=np.float32) * 3, 'w')
    zeros = onnx.numpy_helper.from_array(np.zeros((2, 2), np.float32), 'zeros')
    times = onnx.numpy_helper.from_array(np.array(4), 'times')
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node('MatMul', ['x', 'w'], ['product']),
            onnx.helper.make_node('Loop', ['times', '', 'zeros'], ['y'], body=body),
        ],
        'graph',
        [make('x', TensorProto.FLOAT, [2, 2])],
        [make('y', TensorProto.FLOAT, [2, 2])],
        [weights, zeros, times],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid('', 18)], ir_version=8
    )
    x = np.array([[1, 2], [3, 4]], np.float32)
    half = to_half(model, 'queries')
    product = next(n for n in half.graph.node if n.op_type == 'MatMul')
    assert types_of(half)[product.input[1]] == TensorProto.FLOAT16
    np.testing.assert_array_equal(run_graph(half, x)[0], x * 12)
