# Copyright (c) mmfdta authors.
"""Non-maximum suppression of boxes, hard and soft."""

import torch
from torch import Tensor

# Pairs of boxes that `nms` compares at once; limits its memory to tens of megabytes.
MAX_PAIRS = 1 << 21


def _overlaps(boxes: Tensor, others: Tensor, offset: int) -> Tensor:
    """Intersection over union of xyxy boxes (N, 4) and (M, 4) as (N, M)."""
    top_left = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    width, height = (bottom_right - top_left + offset).clamp_(min=0).unbind(-1)
    intersection = width * height
    area, other_area = (
        (b[:, 2] - b[:, 0] + offset) * (b[:, 3] - b[:, 1] + offset)
        for b in (boxes, others)
    )
    return intersection / (area[:, None] + other_area[None] - intersection)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy non-maximum suppression.

    Boxes are processed in blocks of decreasing score. In a block, "kept if no kept box
    of higher score overlaps" has one solution, which iteration reaches after as many
    rounds as the longest chain of overlaps; then the block suppresses later boxes.

    Args:
        boxes: xyxy (N, 4).
        scores: (N,).
        iou_threshold: A box that overlaps a kept one by more is dropped.
        offset: 1 if widths count pixels inclusively, else 0.

    Returns:
        Indices of the kept boxes by decreasing score, int64 (K,).
    """
    order = scores.sort(0, descending=True)[1]
    kept = []
    while order.numel():
        size = max(1, min(order.numel(), MAX_PAIRS // order.numel()))
        overlaps = _overlaps(boxes[order[:size]], boxes[order], offset)
        suppresses = overlaps > iou_threshold
        within = suppresses[:, :size].triu(diagonal=1)
        keep = torch.ones_like(within[0])
        while True:
            settled = ~(within & keep[:, None]).any(0)
            if torch.equal(settled, keep):
                break
            keep = settled
        kept.append(order[:size][keep])
        order = order[size:][~suppresses[keep, size:].any(0)]
    return torch.cat(kept) if kept else order


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft non-maximum suppression (Bodla et al. 2017), on the CPU as in MMCV.

    Args:
        boxes: xyxy (N, 4).
        scores: (N,).
        dets: (N, 5); its first rows receive the kept boxes and their new scores.
        iou_threshold: Overlap from which methods 0 and 1 lower a score.
        sigma: Width of the Gaussian of method 2.
        min_score: Boxes whose score falls below this are dropped.
        method: 0 drops, 1 lowers linearly, 2 lowers by a Gaussian.
        offset: 1 if widths count pixels inclusively, else 0.

    Returns:
        Indices of the boxes in the rows of `dets`, int64 (K,).
    """
    rows = torch.cat([boxes, scores[:, None]], dim=1)
    index = torch.arange(len(rows))
    done = 0
    while done < len(rows):
        # The first of equal scores is the best, and swaps places with row `done`. NaN,
        # from two empty boxes, is neither greater nor less.
        left, unordered = rows[done:, 4], rows[done:, 4].isnan()
        best = done
        if not unordered[0]:
            best += int(left.masked_fill(unordered, -torch.inf).argmax())
        swap = torch.tensor([best, done])
        rows[[done, best]], index[[done, best]] = rows[swap], index[swap]
        overlaps = _overlaps(rows[done : done + 1, :4], rows[done + 1 :, :4], offset)[0]
        if method == 2:
            weights = torch.exp(-(overlaps * overlaps) / sigma)
        else:
            lowered = 1 - overlaps if method == 1 else torch.zeros_like(overlaps)
            weights = torch.where(overlaps >= iou_threshold, lowered, 1)
        rows[done + 1 :, 4] *= weights
        done += 1
        order = _close_gaps(~(rows[:, 4] < min_score), done)
        rows, index = rows[order], index[order]
    dets[: len(rows)] = rows
    return index


def _close_gaps(survives: Tensor, done: int) -> Tensor:
    """Return the order of rows if each dropped one is replaced by one from the end.

    Args:
        survives: bool (N,); rows before `done` are settled and always stay.
        done: Number of settled rows.

    Returns:
        Positions of the remaining rows in their new order, int64 (M,).
    """
    survives = survives.clone()
    survives[:done] = True
    count = int(survives.sum())
    order = torch.arange(count)
    holes = ~survives[:count]
    order[holes] = (survives[count:].nonzero()[:, 0] + count).flip(0)
    return order
