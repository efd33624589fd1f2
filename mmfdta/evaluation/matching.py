# Copyright (c) mmfdta authors.
"""Overlaps between ground truth and result of a sequence, and best matches of frames.

All overlaps are found at once; the assignment is solved only where it is needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from mmfdta.structures.tracks import Sequence, Tracks

EPS = np.finfo('float').eps
_CHUNK = 1 << 17
# A lead in score that rounding cannot make.
_MARGIN = 1e-9


@dataclass(frozen=True)
class Side:
    """One side of a sequence, ordered by frame, identities renumbered.

    Attributes:
        identity: int64 (N,), 0 to ``num_ids - 1``.
        frame: int64 (N,), ascending, an index into the F frames
            in which either side has boxes.
        start: int64 (F + 1,), where the rows of each frame start.
        num_ids: Number of different identities.
    """

    identity: np.ndarray
    frame: np.ndarray
    start: np.ndarray
    num_ids: int

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def per_id(self) -> np.ndarray:
        """int64 (num_ids,), boxes of each identity."""
        return np.bincount(self.identity, minlength=self.num_ids)


@dataclass(frozen=True)
class Overlaps:
    """Every pair of boxes of one frame that overlap.

    Pairs are ordered by frame, then ground truth row, then result row.

    Attributes:
        length: Length of the sequence.
        gt: The ground truth.
        pred: The result.
        gt_row: int64 (K,), the pair's row of ``gt``.
        pred_row: int64 (K,), the pair's row of ``pred``.
        iou: float64 (K,), intersection over union, above 0.
        share: float64 (K,), the IoU divided by the sum of all
            IoUs of the two boxes, the weight of a possible match in HOTA.
    """

    length: int
    gt: Side
    pred: Side
    gt_row: np.ndarray
    pred_row: np.ndarray
    iou: np.ndarray
    share: np.ndarray

    @property
    def num_frames(self) -> int:
        """F, the frames in which either side has boxes."""
        return len(self.gt.start) - 1

    @property
    def gt_id(self) -> np.ndarray:
        """int64 (K,), ground truth identity of each pair."""
        return self.gt.identity[self.gt_row]

    @property
    def pred_id(self) -> np.ndarray:
        """int64 (K,), result identity of each pair."""
        return self.pred.identity[self.pred_row]

    @property
    def frame(self) -> np.ndarray:
        """int64 (K,), frame of each pair, one of the F."""
        return self.gt.frame[self.gt_row]

    def id_pairs(self, keep: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """Number the different pairs of identities.

        Args:
            keep: bool (K,), the pairs to look at.

        Returns:
            Ground truth identity (U,), result identity (U,) and, for
            each kept pair of boxes, its pair of identities (K',).
        """
        chosen = slice(None) if keep is None else keep
        width = max(self.pred.num_ids, 1)
        key = self.gt_id[chosen] * width + self.pred_id[chosen]
        unique, inverse = np.unique(key, return_inverse=True)
        return unique // width, unique % width, inverse


def find_overlaps(sequence: Sequence) -> Overlaps:
    """Compute the IoU of every pair of boxes that share a frame.

    Frames with the same numbers of boxes are computed together. The arithmetic
    is that of the official evaluation, operation by operation: two matches that
    tie there tie here.
    """
    frames = np.union1d(sequence.gt.frame, sequence.pred.frame)
    gt_boxes, gt = _make_side(sequence.gt, frames)
    pred_boxes, pred = _make_side(sequence.pred, frames)
    found = [(np.zeros(0, np.int64),) * 2 + (np.zeros(0),) * 2]
    for alike, rows, columns in _shape_groups(gt, pred):
        gt_index = gt.start[alike][:, None] + np.arange(rows)
        pred_index = pred.start[alike][:, None] + np.arange(columns)
        row, column, *values = _overlaps_of_group(
            gt_boxes[gt_index], pred_boxes[pred_index]
        )
        found.append(
            (gt_index.reshape(-1)[row], pred_index.reshape(-1)[column], *values)
        )
    gt_row, pred_row, iou, share = (
        np.concatenate(parts) for parts in zip(*found, strict=True)
    )
    order = np.lexsort((pred_row, gt_row))
    return Overlaps(
        length=sequence.num_frames,
        gt=gt,
        pred=pred,
        gt_row=gt_row[order],
        pred_row=pred_row[order],
        iou=iou[order],
        share=share[order],
    )


def _overlaps_of_group(
    gt: np.ndarray, pred: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Find the pairs that overlap, of F frames with equal numbers of boxes.

    In a crowd most boxes lie next to each other; they are told by two comparisons.

    Args:
        gt: float64 (F, N, 4), boxes as x1, y1, x2, y2.
        pred: float64 (F, M, 4).

    Returns:
        Of each pair its box among the F * N, its box among the F * M, its IoU, and
        that divided by the sum of all IoUs of the two boxes.
    """
    meet = gt[:, :, None, 0] < pred[:, None, :, 2]
    meet &= pred[:, None, :, 0] < gt[:, :, None, 2]
    pair = np.flatnonzero(meet)
    row, column = np.divmod(pair, pred.shape[1])
    column += row // gt.shape[1] * pred.shape[1]
    iou = box_iou(gt.reshape(-1, 4)[row], pred.reshape(-1, 4)[column])
    # Sums round as those of whole matrices, as the official evaluation has them.
    matrices = np.zeros(meet.shape)
    matrices.reshape(-1)[pair] = iou
    of_pred, of_gt = (matrices.sum(axis=i).reshape(-1) for i in (1, 2))
    total = of_pred[column] + of_gt[row] - iou
    share = np.zeros_like(iou)
    np.divide(iou, total, out=share, where=total > EPS)
    kept = iou > 0
    return row[kept], column[kept], iou[kept], share[kept]


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes, pair by pair.

    Args:
        first: float64 (..., 4), boxes as x1, y1, x2, y2.
        second: float64 (..., 4), broadcast with the first.

    Returns:
        float64 (...); 0 for boxes without area.
    """
    a, b = np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0)
    intersection = np.maximum(np.minimum(a[2], b[2]) - np.maximum(a[0], b[0]), 0)
    intersection *= np.maximum(np.minimum(a[3], b[3]) - np.maximum(a[1], b[1]), 0)
    first_area = (a[2] - a[0]) * (a[3] - a[1])
    second_area = (b[2] - b[0]) * (b[3] - b[1])
    union = first_area + second_area - intersection
    nothing = (first_area <= EPS) | (second_area <= EPS) | (union <= EPS)
    intersection[nothing] = 0
    union[union <= EPS] = 1
    return intersection / union


def _make_side(tracks: Tracks, frames: np.ndarray) -> tuple[np.ndarray, Side]:
    """Order rows by frame, renumber frames and identities, make corners."""
    tracks = tracks.in_frame_order()
    unique, identity = np.unique(tracks.identity, return_inverse=True)
    frame = np.searchsorted(frames, tracks.frame)
    start = np.searchsorted(frame, np.arange(len(frames) + 1))
    return tracks.xyxy, Side(identity, frame, start, len(unique))


def _shape_groups(gt: Side, pred: Side) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield frames with equal numbers of boxes, in pieces of bounded size."""
    rows, columns = np.diff(gt.start), np.diff(pred.start)
    both = np.flatnonzero((rows > 0) & (columns > 0))
    width = columns.max(initial=0) + 1
    shapes, inverse = np.unique(rows[both] * width + columns[both], return_inverse=True)
    order = np.argsort(inverse, kind='stable')
    bounds = np.searchsorted(inverse[order], np.arange(len(shapes) + 1))
    for i, shape in enumerate(shapes):
        n, m = divmod(int(shape), int(width))
        frames = both[order[bounds[i] : bounds[i + 1]]]
        step = max(1, _CHUNK // (n * m))
        for first in range(0, len(frames), step):
            yield frames[first : first + step], n, m


def match_frames(overlaps: Overlaps, score: np.ndarray) -> np.ndarray:
    """Choose in every frame the one-to-one matches of the largest total score.

    Where each ground truth box has one best partner, better than its second by
    a margin above rounding, and no two share it, that choice is the only
    optimum; the same holds from the result's side. Only the other frames go
    through the assignment solver, with the same matrix as the official
    evaluation builds, so that ties fall the same way.

    Args:
        overlaps: Pairs of boxes.
        score: float64 (K,), not negative; pairs of the same frame
            that are not listed score 0.

    Returns:
        bool (K,), the pairs that are matched.
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
    """Find where the pairs of frames (H,) begin and end; int64 (H,) both."""
    frame = overlaps.frame
    return np.searchsorted(frame, frames), np.searchsorted(frame, frames, 'right')


def solve_frame(
    overlaps: Overlaps, frame: int | np.integer, pairs: slice, score: np.ndarray
) -> np.ndarray:
    """Solve the assignment of a frame, one of the F, on the full matrix.

    Args:
        overlaps: Pairs of boxes.
        frame: The frame.
        pairs: Its K' pairs.
        score: float64 (K',), their scores.

    Returns:
        bool (K',), the matched pairs.
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
