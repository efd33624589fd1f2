# Copyright (c) mmfdta authors.
"""Deformable attention of the stand-in."""

import importlib

import numpy as np
import torch

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
