# Copyright (c) mmfdta authors.
"""Overlaps against MMDetection's, digit by digit."""

import torch
from mmdet.structures.bbox import bbox_overlaps

from mmfdta.ops.box_overlaps import generalized_iou


def _boxes(*shape: int) -> torch.Tensor:
    """Boxes of which many overlap; a fifth have no area, some a negative one."""
    start = torch.rand(*shape, 2)
    extent = torch.rand(*shape, 2) - 0.05
    extent[torch.rand(shape) < 0.2] = 0
    return torch.cat([start, start + extent], dim=-1)


def test_equals_mmdetections_for_all_pairs():
    boxes, others = _boxes(2, 3, 50), _boxes(2, 3, 40)
    for eps in (torch.finfo(torch.float32).tiny, 1e-6):
        expected = bbox_overlaps(boxes, others, mode='giou', eps=eps)
        found = generalized_iou(boxes[..., None, :], others[..., None, :, :], eps)
        assert torch.equal(found, expected)


def test_equals_mmdetections_with_gradients():
    boxes, others = _boxes(500).requires_grad_(), _boxes(500)
    expected = bbox_overlaps(boxes, others, mode='giou', is_aligned=True, eps=1e-6)
    found = generalized_iou(boxes, others, 1e-6)
    assert torch.equal(found, expected)
    gradients = [torch.autograd.grad(x.sum(), boxes)[0] for x in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-6)


def test_without_boxes_there_is_still_a_gradient():
    boxes = torch.zeros(0, 4, requires_grad=True)
    generalized_iou(boxes, boxes, 1e-6).sum().backward()
    assert boxes.grad.shape == (0, 4)
