# Copyright (c) mmfdta authors.
"""Deformable attention: the stand-in's, and the path that MMCV takes on a CPU."""

import importlib

import numpy as np
import pytest
import torch

from mmfdta.ops import sparse_sampling
from mmfdta.utils import mmcv_ext as operators

STAND_IN = operators.make_stand_in('for the tests')
DEFORM = importlib.import_module('mmcv.ops.multi_scale_deform_attn')


def deform_case():
    shapes = torch.tensor([[4, 5], [2, 3]])
    value = torch.randn(2, 26, 2, 3, dtype=torch.float64)
    # Some of the points fall outside the maps, where the value is zero.
    locations = torch.rand(2, 3, 2, 2, 4, 2, dtype=torch.float64) * 1.6 - 0.3
    weights = torch.rand(2, 3, 2, 2, 4, dtype=torch.float64)
    return value, shapes, torch.tensor([0, 20]), locations, weights


def brute_force_deform_attention(value, shapes, starts, locations, weights):
    batch, queries, heads, levels, points, _ = locations.shape
    output = np.zeros((batch, queries, heads, value.shape[-1]))
    for b, q, m, lv, p in np.ndindex(batch, queries, heads, levels, points):
        height, width = shapes[lv]
        x = locations[b, q, m, lv, p, 0] * width - 0.5
        y = locations[b, q, m, lv, p, 1] * height - 0.5
        for row in (np.floor(y), np.floor(y) + 1):
            for column in (np.floor(x), np.floor(x) + 1):
                if 0 <= row < height and 0 <= column < width:
                    share = (1 - abs(y - row)) * (1 - abs(x - column))
                    key = int(starts[lv] + row * width + column)
                    output[b, q, m] += (
                        weights[b, q, m, lv, p] * share * value[b, key, m]
                    )
    return output.reshape(batch, queries, -1)


def test_deformable_attention_is_bilinear_sampling(monkeypatch):
    monkeypatch.setattr(DEFORM, 'ext_module', STAND_IN)
    case = deform_case()
    output = DEFORM.MultiScaleDeformableAttnFunction.apply(*case, 64)
    expected = brute_force_deform_attention(*(tensor.numpy() for tensor in case))
    np.testing.assert_allclose(output.numpy(), expected, rtol=0, atol=1e-12)


def test_deformable_attention_gradients_match_finite_differences(monkeypatch):
    monkeypatch.setattr(DEFORM, 'ext_module', STAND_IN)
    value, shapes, starts, locations, weights = deform_case()
    leaves = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    assert torch.autograd.gradcheck(
        lambda v, x, w: DEFORM.MultiScaleDeformableAttnFunction.apply(
            v, shapes, starts, x, w, 64
        ),
        leaves,
    )


def test_mmcv_takes_the_sparse_path_on_a_cpu():
    assert DEFORM.multi_scale_deformable_attn_pytorch is operators.deformable_attention


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
        operators.plain_deformable_attention,
        operators.deformable_attention,
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
        monkeypatch.setattr(sparse_sampling, '_BACKWARD_POINTS', points)
        output = operators.deformable_attention(
            leaves[0], case[1], leaves[1], leaves[2]
        )
        gradients.append(torch.autograd.grad(output.square().sum(), leaves))
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-12, atol=1e-12)


def test_points_far_out_and_on_the_border_give_nothing():
    shapes, value = torch.tensor([[3, 4]]), torch.rand(1, 12, 1, 2) + 1
    locations = torch.tensor(
        [[-1e9, 0.5], [0.5, 1e9], [-0.125, 0.5], [0.5, 1 + 1 / 6], [1.125, 0.5]]
    ).view(1, 5, 1, 1, 1, 2)
    locations.requires_grad_()
    output = operators.deformable_attention(
        value, shapes, locations, torch.ones(1, 5, 1, 1, 1)
    )
    assert output.count_nonzero() == 0
    output.sum().backward()
    assert locations.grad[:, :2].count_nonzero() == 0


def test_a_point_that_is_nan_spoils_its_query_only():
    case = random_case([(3, 4), (2, 2)], 1, 4, 1, 2, 3)
    case[2][0, 1, 0, 1, 0, 0] = torch.nan
    output = operators.deformable_attention(*case)
    assert output[0, 1].isnan().all()
    assert output[0, [0, 2, 3]].isfinite().all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(dtype):
    value, shapes, locations, weights = random_case([(5, 8), (3, 4)], 2, 6, 4, 4, 8)
    value, weights = value.to(dtype), weights.to(dtype)
    output = operators.deformable_attention(value, shapes, locations, weights)
    expected = operators.plain_deformable_attention(
        value.float(), shapes.tolist(), locations, weights.float()
    )
    assert output.dtype == dtype
    torch.testing.assert_close(output, expected.to(dtype), rtol=1e-2, atol=1e-6)


def test_a_traced_model_holds_operations_of_pytorch():
    case = random_case([(3, 4), (2, 2)], 1, 4, 2, 2, 3)
    traced = torch.jit.trace(
        lambda value, locations, weights: operators.deformable_attention(
            value, case[1], locations, weights
        ),
        (case[0], *case[2:]),
    )
    assert 'grid_sampler' in str(traced.graph)
    torch.testing.assert_close(
        traced(case[0], *case[2:]),
        operators.deformable_attention(*case),
        rtol=1e-4,
        atol=1e-5,
    )
