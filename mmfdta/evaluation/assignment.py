# Copyright (c) mmfdta authors.
"""Best matches of all frames, with the assignment solved only where needed."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from .overlap import Overlaps

_MARGIN = 1e-9


def match_frames(overlaps: Overlaps, score: np.ndarray) -> np.ndarray:
    """Choose in every frame the one-to-one matches of the largest total score.

    Where each ground truth box has one best partner, better than its second by
    a margin above rounding, and no two share it, that choice is the only
    optimum; the same holds from the result's side. Only the other frames go
    through the assignment solver, with the same matrix as the official
    evaluation builds, so that ties fall the same way.

    Args:
        overlaps (Overlaps): Pairs of boxes.
        score (np.ndarray): float64 (K,), not negative; pairs of the same frame
            that are not listed score 0.

    Returns:
        np.ndarray: bool (K,), the pairs that are matched.
    """
    by_gt, unclear_gt = _best_partners(
        overlaps, overlaps.gt_row, overlaps.pred_row, score
    )
    by_pred, unclear_pred = _best_partners(
        overlaps, overlaps.pred_row, overlaps.gt_row, score
    )
    chosen = np.where(unclear_gt[overlaps.frame], by_pred, by_gt)
    hard = np.flatnonzero(unclear_gt & unclear_pred)
    bounds = pair_bounds(overlaps, hard)
    for frame, first, last in zip(hard, *bounds, strict=True):
        pairs = slice(first, last)
        chosen[pairs] = solve_frame(overlaps, frame, pairs, score[pairs])
    return chosen


def pair_bounds(
    overlaps: Overlaps, frames: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find where the pairs of frames begin and end.

    Args:
        overlaps (Overlaps): Pairs of boxes.
        frames (np.ndarray): int64 (H,).

    Returns:
        tuple[np.ndarray, np.ndarray]: int64 (H,), first pair and end.
    """
    frame = overlaps.frame
    return np.searchsorted(frame, frames), np.searchsorted(frame, frames, 'right')


def solve_frame(
    overlaps: Overlaps, frame: int | np.integer, pairs: slice, score: np.ndarray
) -> np.ndarray:
    """Solve one frame's assignment on the full matrix.

    Args:
        overlaps (Overlaps): Pairs of boxes.
        frame (int): The frame, one of the F.
        pairs (slice): The frame's pairs.
        score (np.ndarray): float64 (K',), their scores.

    Returns:
        np.ndarray: bool (K',), the matched pairs.
    """
    gt_first, gt_last = overlaps.gt.start[frame : frame + 2]
    pred_first, pred_last = overlaps.pred.start[frame : frame + 2]
    matrix = np.zeros((gt_last - gt_first, pred_last - pred_first))
    row = overlaps.gt_row[pairs] - gt_first
    column = overlaps.pred_row[pairs] - pred_first
    matrix[row, column] = score
    rows, columns = linear_sum_assignment(-matrix)
    partner = np.full(len(matrix), -1)
    partner[rows] = columns
    return partner[row] == column


def _best_partners(
    overlaps: Overlaps, row: np.ndarray, other: np.ndarray, score: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Take the best pair of every row of one side, `other` being the other's.

    Returns the chosen pairs, bool (K,), and the frames, bool (F,), in which
    this choice is not certainly the only optimum.
    """
    unclear = np.zeros(overlaps.num_frames, dtype=bool)
    if not len(row):
        return np.zeros(0, dtype=bool), unclear
    order = np.argsort(row, kind='stable')
    ordered = score[order]
    starts = np.flatnonzero(np.diff(row[order], prepend=-1))
    sizes = np.diff(starts, append=len(row))
    best = np.repeat(np.maximum.reduceat(ordered, starts), sizes)
    is_best = ordered == best
    second = np.maximum.reduceat(np.where(is_best, 0.0, ordered), starts)
    repeated = np.add.reduceat(is_best, starts, dtype=np.int64) > 1
    doubtful = repeated | (best[starts] - second <= _MARGIN)
    unclear[overlaps.frame[order[starts[doubtful]]]] = True
    chosen = np.zeros(len(row), dtype=bool)
    chosen[order] = is_best
    pairs = np.flatnonzero(chosen)
    taken = np.bincount(other[pairs]) > 1
    unclear[overlaps.frame[pairs[taken[other[pairs]]]]] = True
    return chosen, unclear
