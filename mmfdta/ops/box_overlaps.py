# Copyright (c) mmfdta authors.
"""Overlaps of boxes."""

import torch
from torch import Tensor


def generalized_iou(boxes: Tensor, others: Tensor, eps: float) -> Tensor:
    """Generalised IoU (arXiv 1902.09630) of boxes that broadcast to each other.

    Equal to the last bit to MMDetection's ``bbox_overlaps(..., mode='giou')``, which
    copies ``eps`` to the device and waits for it.

    Args:
        boxes: xyxy (..., 4).
        others: xyxy (..., 4).
        eps: Smallest divisor, an area.

    Returns:
        (...), in -1..1.
    """
    inner = torch.minimum(boxes[..., 2:], others[..., 2:])
    inner = (inner - torch.maximum(boxes[..., :2], others[..., :2])).clamp(min=0)
    overlap = inner[..., 0] * inner[..., 1]
    union = _area(boxes) + _area(others) - overlap
    union = union.clamp(min=eps)
    outer = torch.maximum(boxes[..., 2:], others[..., 2:])
    outer = (outer - torch.minimum(boxes[..., :2], others[..., :2])).clamp(min=0)
    enclosing = (outer[..., 0] * outer[..., 1]).clamp(min=eps)
    return overlap / union - (enclosing - union) / enclosing


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
