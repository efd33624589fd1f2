# Copyright (c) mmfdta authors.
"""All overlaps between ground truth and result of a sequence, found at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mmfdta.structures.tracks import Sequence, Tracks

EPS = np.finfo('float').eps
_CHUNK = 1 << 17


@dataclass(frozen=True)
class Side:
    """One side of a sequence, ordered by frame, identities renumbered.

    Attributes:
        identity (np.ndarray): int64 (N,), 0 to ``num_ids - 1``.
        frame (np.ndarray): int64 (N,), ascending, an index into the F frames
            in which either side has boxes.
        start (np.ndarray): int64 (F + 1,), where the rows of each frame start.
        num_ids (int): Number of different identities.
    """

    identity: np.ndarray
    frame: np.ndarray
    start: np.ndarray
    num_ids: int

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def per_id(self) -> np.ndarray:
        """np.ndarray: int64 (num_ids,), boxes of each identity."""
        return np.bincount(self.identity, minlength=self.num_ids)


@dataclass(frozen=True)
class Overlaps:
    """Every pair of boxes of one frame that overlap.

    Pairs are ordered by frame, then ground truth row, then result row.

    Attributes:
        length (int): Length of the sequence.
        gt (Side): The ground truth.
        pred (Side): The result.
        gt_row (np.ndarray): int64 (K,), the pair's row of ``gt``.
        pred_row (np.ndarray): int64 (K,), the pair's row of ``pred``.
        iou (np.ndarray): float64 (K,), intersection over union, above 0.
        share (np.ndarray): float64 (K,), the IoU divided by the sum of all
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
        """int: F, the frames in which either side has boxes."""
        return len(self.gt.start) - 1

    @property
    def gt_id(self) -> np.ndarray:
        """np.ndarray: int64 (K,), ground truth identity of each pair."""
        return self.gt.identity[self.gt_row]

    @property
    def pred_id(self) -> np.ndarray:
        """np.ndarray: int64 (K,), result identity of each pair."""
        return self.pred.identity[self.pred_row]

    @property
    def frame(self) -> np.ndarray:
        """np.ndarray: int64 (K,), frame of each pair, one of the F."""
        return self.gt.frame[self.gt_row]

    def id_pairs(self, keep: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """Number the different pairs of identities.

        Args:
            keep (np.ndarray | None): bool (K,), the pairs to look at.

        Returns:
            tuple: ground truth identity (U,), result identity (U,) and, for
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

    Args:
        sequence (Sequence): Ground truth and result.

    Returns:
        Overlaps: The pairs with an IoU above 0.
    """
    frames = np.union1d(sequence.gt.frame, sequence.pred.frame)
    gt_boxes, gt = _make_side(sequence.gt, frames)
    pred_boxes, pred = _make_side(sequence.pred, frames)
    found = [(np.zeros(0, np.int64),) * 2 + (np.zeros(0),) * 2]
    for alike, rows, columns in _shape_groups(gt, pred):
        gt_index = gt.start[alike][:, None] + np.arange(rows)
        pred_index = pred.start[alike][:, None] + np.arange(columns)
        iou = box_iou(gt_boxes[gt_index], pred_boxes[pred_index])
        share = _share(iou)
        group, row, column = np.nonzero(iou)
        found.append(
            (
                gt_index[group, row],
                pred_index[group, column],
                iou[group, row, column],
                share[group, row, column],
            )
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


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes, frame by frame.

    Args:
        first (np.ndarray): float64 (F, N, 4), boxes as x1, y1, x2, y2.
        second (np.ndarray): float64 (F, M, 4).

    Returns:
        np.ndarray: float64 (F, N, M); 0 for boxes without area.
    """
    a = [first[:, :, None, i] for i in range(4)]
    b = [second[:, None, :, i] for i in range(4)]
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


def _share(iou: np.ndarray) -> np.ndarray:
    """IoU over all IoU of the two boxes, (F, N, M)."""
    total = iou.sum(axis=1)[:, None, :] + iou.sum(axis=2)[:, :, None] - iou
    share = np.zeros_like(iou)
    np.divide(iou, total, out=share, where=total > EPS)
    return share
