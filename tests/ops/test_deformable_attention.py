# Copyright (c) mmfdta authors.
"""Deformable attention as sparse products against MMCV's PyTorch path."""

import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttention,
    multi_scale_deformable_attn_pytorch,
)

from mmfdta.ops import accelerate
from mmfdta.ops import deformable_attention as sampling_file
from mmfdta.ops.deformable_attention import (
    FastDeformableAttention,
    deformable_sampling,
)


def deformable_attention(value, shapes, locations, weights):
    """The operator under test, with the interface of MMCV's reference."""
    x, y = (locations * shapes.flip(1)[:, None] - 0.5).unbind(-1)
    return deformable_sampling(value, shapes.tolist(), x, y, weights)


def random_case(shapes, batch, queries, heads, points, dim, dtype=torch.float32):
    """Points around and beyond the maps' borders."""
    keys = sum(h * w for h, w in shapes)
    value = torch.randn(batch, keys, heads, dim, dtype=dtype)
    size = batch, queries, heads, len(shapes), points
    locations = torch.rand(*size, 2, dtype=dtype) * 1.8 - 0.4
    return value, torch.tensor(shapes), locations, torch.rand(size, dtype=dtype)


CASES = {
    'usual': ([(9, 16), (5, 8), (3, 4), (2, 2)], 2, 7, 8, 4, 32),
    'one pixel': ([(1, 1)], 1, 5, 2, 3, 4),
    'thin levels': ([(1, 7), (6, 1)], 3, 4, 1, 1, 5),
    'odd': ([(7, 5), (3, 11), (1, 2)], 3, 13, 3, 2, 7),
    'several blocks': ([(4, 5), (2, 3)], 2, 700, 4, 8, 8),
    'no queries': ([(4, 5), (2, 3)], 2, 0, 2, 2, 4),
    'no images': ([(4, 5), (2, 3)], 0, 3, 2, 2, 4),
}


@pytest.mark.parametrize('case', CASES.values(), ids=CASES)
def test_sparse_path_is_the_plain_one(case):
    case = random_case(*case)
    results = []
    for function in (
        multi_scale_deformable_attn_pytorch,
        deformable_attention,
    ):
        value, shapes, *points = (t.clone() for t in case)
        leaves = [t.requires_grad_() for t in (value, *points)]
        output = function(leaves[0], shapes, *leaves[1:])
        probe = torch.linspace(-1, 1, output.numel()).view_as(output)
        results.append([output, *torch.autograd.grad(output, leaves, probe)])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_images_in_several_parts_give_the_same_gradients(monkeypatch):
    case = random_case([(4, 5), (2, 3)], 5, 6, 2, 3, 4, torch.float64)
    leaves = [case[i].requires_grad_() for i in (0, 2, 3)]
    gradients = []
    for points in (1 << 20, 2 * 6 * 2 * 2 * 3, 1):
        monkeypatch.setattr(sampling_file, '_BACKWARD_POINTS', points)
        output = deformable_attention(leaves[0], case[1], leaves[1], leaves[2])
        gradients.append(torch.autograd.grad(output.square().sum(), leaves))
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-12, atol=1e-12)


def test_points_far_out_and_on_the_border_give_nothing():
    shapes, value = torch.tensor([[3, 4]]), torch.rand(1, 12, 1, 2) + 1
    locations = torch.tensor(
        [[-1e9, 0.5], [0.5, 1e9], [-0.125, 0.5], [0.5, 1 + 1 / 6], [1.125, 0.5]]
    ).view(1, 5, 1, 1, 1, 2)
    locations.requires_grad_()
    output = deformable_attention(value, shapes, locations, torch.ones(1, 5, 1, 1, 1))
    assert output.count_nonzero() == 0
    output.sum().backward()
    assert locations.grad[:, :2].count_nonzero() == 0


def test_a_point_that_is_nan_spoils_its_query_only():
    case = random_case([(3, 4), (2, 2)], 1, 4, 1, 2, 3)
    case[2][0, 1, 0, 1, 0, 0] = torch.nan
    output = deformable_attention(*case)
    assert output[0, 1].isnan().all()
    assert output[0, [0, 2, 3]].isfinite().all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(dtype):
    value, shapes, locations, weights = random_case([(5, 8), (3, 4)], 2, 6, 4, 4, 8)
    value, weights = value.to(dtype), weights.to(dtype)
    output = deformable_attention(value, shapes, locations, weights)
    expected = multi_scale_deformable_attn_pytorch(
        value.float(), shapes.tolist(), locations, weights.float()
    )
    assert output.dtype == dtype
    torch.testing.assert_close(output, expected.to(dtype), rtol=1e-2, atol=1e-6)


class Layer(torch.nn.Module):
    """Attention to two levels, of tensors alone, as it can be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = MultiScaleDeformableAttention(
            8, 2, num_levels=2, batch_first=True
        )
        self.shapes, self.starts = torch.tensor([[3, 4], [2, 2]]), torch.tensor([0, 12])

    def forward(self, query, value, points):
        return self.attention(
            query,
            value=value,
            reference_points=points,
            spatial_shapes=self.shapes,
            level_start_index=self.starts,
        )


def test_a_traced_model_holds_operations_of_pytorch():
    layer = accelerate(Layer().eval())
    assert type(layer.attention) is FastDeformableAttention
    case = torch.randn(1, 5, 8), torch.randn(1, 16, 8), torch.rand(1, 5, 2, 2)
    traced = torch.jit.trace(layer, case)
    assert 'grid_sampler' in str(traced.inlined_graph)
    torch.testing.assert_close(traced(*case), layer(*case), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('batch_first', [True, False])
@pytest.mark.parametrize('reference', [2, 4])
@pytest.mark.parametrize('padded', [True, False])
def test_the_module_is_mmcvs(batch_first, reference, padded):
    shapes = torch.tensor([[5, 8], [3, 4]])
    plain = MultiScaleDeformableAttention(
        16, 4, num_levels=2, num_points=3, dropout=0.0, batch_first=batch_first
    )
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    query, value = torch.randn(2, 7, 16), torch.randn(2, 52, 16)
    inputs = dict(query=query, value=value, query_pos=torch.randn(2, 7, 16))
    if not batch_first:
        inputs = {name: x.transpose(0, 1) for name, x in inputs.items()}
    padding = torch.rand(2, 52) < 0.3
    results = []
    for module in (plain, accelerate(plain)):
        leaves = [x.clone().requires_grad_() for x in inputs.values()]
        points = torch.rand(2, 7, 2, reference, generator=torch.manual_seed(0))
        points.requires_grad_()
        output = module(
            **dict(zip(inputs, leaves, strict=True)),
            key_padding_mask=padding if padded else None,
            reference_points=points,
            spatial_shapes=shapes,
            level_start_index=torch.tensor([0, 40]),
        )
        leaves += [points, *module.parameters()]
        probe = torch.linspace(-1, 1, output.numel()).view_as(output)
        results.append([output, *torch.autograd.grad(output, leaves, probe)])
    assert type(module) is FastDeformableAttention
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_query_is_value_and_identity_where_none_is_given():
    shapes = torch.tensor([[2, 3]])
    plain = MultiScaleDeformableAttention(8, 2, num_levels=1, batch_first=True).eval()
    torch.nn.init.normal_(plain.sampling_offsets.weight)
    query, points = torch.randn(1, 6, 8), torch.rand(1, 6, 1, 2)
    options = dict(reference_points=points, spatial_shapes=shapes)
    expected = plain(query, level_start_index=torch.tensor([0]), **options)
    torch.testing.assert_close(accelerate(plain)(query, **options), expected)
