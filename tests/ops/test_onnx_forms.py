# Copyright (c) mmfdta authors.
"""What operators are in ONNX, run by onnxruntime, against MMCV and PyTorch."""

import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch
from torch import nn
from torch.export import Dim

from mmfdta.ops import attention_in_onnx
from mmfdta.ops.deformable_attention import deformable_sampling, gather
from mmfdta.ops.onnx_forms import onnx_translations

ANY = Dim.DYNAMIC


def run_onnx(module, example, shapes):
    """Record a module; returns a function on tensors, and the operators' names."""
    program = torch.onnx.export(
        module.eval(),
        tuple(example),
        dynamic_shapes=tuple(shapes),
        dynamo=True,
        opset_version=18,
        verbose=False,
        custom_translation_table=onnx_translations(),
    )
    model = program.model_proto
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, ['CPUExecutionProvider']
    )
    names = [entry.name for entry in session.get_inputs()]

    def run(*tensors):
        feed = {n: t.numpy() for n, t in zip(names, tensors, strict=True)}
        return torch.from_numpy(session.run(None, feed)[0])

    run.content = model.SerializeToString(deterministic=True)
    return run, {(node.domain, node.op_type) for node in nodes_of(model.graph)}


def nodes_of(graph):
    """All nodes of a graph, and of the graphs inside of it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes_of(attribute.g)


class Sampling(nn.Module):
    """Sampling of levels whose sizes are those of other tensors."""

    def __init__(self, centred):
        super().__init__()
        self.centred = centred

    def forward(self, value, x, y, weights, centre, *levels):
        shapes = [level.shape for level in levels]
        centre = centre if self.centred else None
        return deformable_sampling(value, shapes, x, y, weights, centre=centre)


def sampling_case(shapes, batch, queries, heads, points, dim):
    """Points around and beyond the borders of the levels."""
    keys = sum(h * w for h, w in shapes)
    size = batch, queries, heads, len(shapes), points
    locations = torch.rand(*size, 2) * 1.8 - 0.4
    return torch.randn(batch, keys, heads, dim), locations, torch.rand(size)


def expected_sums(value, shapes, locations, weights):
    sizes = torch.tensor(shapes)
    return multi_scale_deformable_attn_pytorch(value, sizes, locations, weights)


def inputs_of(value, shapes, locations, weights, centre):
    """The same in pixels of the levels, from centres."""
    pixels = locations * torch.tensor(shapes).flip(1)[:, None] - 0.5
    x, y = (pixels - centre[:, :, None, :, None]).unbind(-1)
    levels = [torch.zeros(shape) for shape in shapes]
    return value, x.contiguous(), y.contiguous(), weights, centre, *levels


@pytest.fixture(scope='module', params=[True, False], ids=['centred', 'plain'])
def sampling(request):
    """Sampling in three levels of any size, 3 heads of 5 channels, 2 points."""
    shapes = [(4, 5), (3, 2), (2, 2)]
    value, locations, weights = sampling_case(shapes, 2, 7, 3, 2, 5)
    example = inputs_of(value, shapes, locations, weights, torch.zeros(2, 7, 3, 2))
    axes = [{0: ANY, 1: ANY}] * 5 + [{0: ANY, 1: ANY}] * 3
    # A module with a variable number of inputs takes their axes as one.
    shapes = (*axes[:5], tuple(axes[5:]))
    return request.param, *run_onnx(Sampling(request.param), example, shapes)


CASES = {
    'usual': ([(9, 16), (5, 8), (3, 4)], 2, 7),
    'one pixel': ([(1, 1), (1, 1), (1, 1)], 1, 5),
    'thin levels': ([(1, 7), (6, 1), (1, 2)], 3, 4),
    'several blocks': ([(7, 5), (3, 11), (1, 2)], 3, 65),
    'a whole block': ([(8, 8), (4, 4), (2, 2)], 1, 64),
    'one query': ([(13, 3), (2, 9), (1, 5)], 1, 1),
}


@pytest.mark.parametrize('case', CASES.values(), ids=CASES)
def test_gathered_samples_are_those_of_mmcv(case, sampling):
    centred, run, _ = sampling
    shapes, batch, queries = case
    value, locations, weights = sampling_case(shapes, batch, queries, 3, 2, 5)
    centre = torch.randn(batch, queries, 3, 2) * 4 * centred
    found = run(*inputs_of(value, shapes, locations, weights, centre))
    expected = expected_sums(value, shapes, locations, weights)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_points_far_out_and_on_the_border_give_nothing(sampling):
    _, run, _ = sampling
    shapes = [(3, 4), (1, 1), (2, 2)]
    value = torch.rand(1, 17, 3, 5) + 1
    x = torch.zeros(1, 5, 3, 3, 2)
    y = torch.zeros(1, 5, 3, 3, 2)
    for query, (column, row) in enumerate(
        [(-1e9, 0), (0, 1e9), (-1, 0), (0, 3), (4, 0)]
    ):
        x[:, query, :, 0], y[:, query, :, 0] = column, row
    weights = torch.zeros(1, 5, 3, 3, 2)
    weights[..., 0, :] = 1
    levels = [torch.zeros(shape) for shape in shapes]
    centre = torch.zeros(1, 5, 3, 2)
    assert run(value, x, y, weights, centre, *levels).count_nonzero() == 0


def test_sampling_takes_standard_operators_and_no_grid(sampling):
    _, _, operators = sampling
    assert {domain for domain, _ in operators} <= {'', 'ai.onnx'}
    names = {name for _, name in operators}
    assert {'Gather', 'MatMul', 'Scan'} <= names
    assert not {'GridSample', 'Loop', 'If', 'NonZero'} & names


@pytest.mark.parametrize('block', [3, 7, 1000], ids='blocks of {}'.format)
@pytest.mark.parametrize('centred', [True, False], ids=['centred', 'plain'])
def test_sampling_of_known_sizes_is_written_without_a_loop(centred, block, monkeypatch):
    monkeypatch.setattr(gather, '_WRITTEN_OUT', block)
    shapes, batch, queries = [(4, 5), (3, 2), (1, 1)], 2, 7
    value, locations, weights = sampling_case(shapes, batch, queries, 3, 2, 5)
    centre = torch.randn(batch, queries, 3, 2) * 4 * centred
    inputs = inputs_of(value, shapes, locations, weights, centre)
    axes = [{0: ANY}] * 5
    run, operators = run_onnx(Sampling(centred), inputs, (*axes, ({}, {}, {})))
    names = {name for _, name in operators}
    assert 'Gather' in names and not {'Scan', 'Loop', 'If', 'GridSample'} & names
    for images in (2, 1, 3):  # any number of them
        value, locations, weights = sampling_case(shapes, images, queries, 3, 2, 5)
        centre = torch.randn(images, queries, 3, 2) * 4 * centred
        found = run(*inputs_of(value, shapes, locations, weights, centre))
        expected = expected_sums(value, shapes, locations, weights)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


class Attention(nn.Module):
    def forward(self, q, k, v, mask=None):
        return F.scaled_dot_product_attention(q, k, v, mask)


@pytest.fixture(scope='module', params=['bool', 'float', 'none'])
def attention(request):
    """Attention of 2 heads of 4 channels to any number of keys."""
    example = [torch.randn(2, 2, n, 4) for n in (5, 6, 6)]
    axes = [{0: ANY, 2: ANY}] * 3
    if request.param != 'none':
        example.append(mask_of(request.param, 2, 6))
        axes.append({0: ANY, 3: ANY})
    return request.param, *run_onnx(Attention(), example, axes)


def mask_of(kind, batch, keys):
    if kind == 'float':
        return torch.randn(batch, 1, 1, keys)
    mask = torch.rand(batch, 1, 1, keys) < 0.6
    mask[..., -1] = True
    return mask


@pytest.mark.parametrize(
    'batch, queries, keys', [(1, 1, 1), (2, 300, 7), (3, 128, 500)]
)
def test_attention_in_blocks_is_pytorchs(batch, queries, keys, attention):
    kind, run, operators = attention
    tensors = [torch.randn(batch, 2, n, 4) * 3 for n in (queries, keys, keys)]
    if kind != 'none':
        tensors.append(mask_of(kind, batch, keys))
    expected = F.scaled_dot_product_attention(*tensors)
    torch.testing.assert_close(run(*tensors), expected, rtol=1e-4, atol=1e-5)
    assert ('', 'Scan') in operators


def test_attention_of_few_queries_to_few_keys_is_written_without_a_loop():
    tensors = [torch.randn(2, 2, n, 4) for n in (5, 6, 6)]
    run, operators = run_onnx(Attention(), tensors, [{0: ANY}] * 3)
    expected = F.scaled_dot_product_attention(*tensors)
    torch.testing.assert_close(run(*tensors), expected, rtol=1e-4, atol=1e-5)
    names = {name for _, name in operators}
    assert 'Scan' not in names and {'MatMul', 'Softmax'} <= names


@pytest.mark.parametrize('kind', ['bool', 'none'])
def test_attention_of_many_known_lengths_is_written_block_by_block(kind, monkeypatch):
    monkeypatch.setattr(attention_in_onnx, '_LARGEST', 2 * 6 * 3)
    tensors = [torch.randn(2, 2, n, 4) * 3 for n in (8, 6, 6)]
    tensors += [mask_of(kind, 2, 6)] if kind == 'bool' else []
    run, operators = run_onnx(Attention(), tensors, [{0: ANY}] * len(tensors))
    expected = F.scaled_dot_product_attention(*tensors)
    torch.testing.assert_close(run(*tensors), expected, rtol=1e-4, atol=1e-5)
    names = {name for _, name in operators}
    assert 'Scan' not in names and 'Concat' in names


def test_the_same_network_gives_the_same_bytes():
    tensors = [torch.randn(1, 2, n, 4) for n in (5, 6, 6)]
    axes = [{2: ANY}] * 3
    first, second = (run_onnx(Attention(), tensors, axes)[0] for _ in range(2))
    assert b'inside_' in first.content
    assert first.content == second.content
