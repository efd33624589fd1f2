# Copyright (c) mmfdta authors.
"""CLEAR MOT scores (Bernardin and Stiefelhagen, 2008), as MOTChallenge reports."""

from dataclasses import dataclass

import numpy as np

from .matching import EPS, Overlaps, pair_bounds, solve_frame

_THRESHOLD = 0.5 - EPS
_KEEP_BONUS = 1000.0


@dataclass(frozen=True)
class CLEARCounts:
    """What CLEAR adds up over sequences.

    Attributes:
        tp: Matched boxes.
        fn: Missed ground truth boxes.
        fp: Result boxes without a match.
        idsw: Identity switches.
        mt: Ground truth tracks found in more than 80 % of their frames.
        pt: Tracks found in at least 20 %, at most 80 %.
        ml: Tracks found in less than 20 %.
        frag: Times that a track is found again after a gap.
        iou: IoU, summed over matched boxes.
        frames: Frames of sequences that hold truth and result.
    """

    tp: int
    fn: int
    fp: int
    idsw: int
    mt: int
    pt: int
    ml: int
    frag: int
    iou: float
    frames: int

    def scores(self, of_sequence: bool = False) -> dict[str, float]:
        """Compute the scores.

        Args:
            of_sequence: The counts are those of one sequence. The
                official evaluation sets all rates of a sequence without ground
                truth to 0 and its share of mostly lost tracks to 1.

        Returns:
            ``MOTA``, ``MOTP`` (an overlap: mean IoU of the matches),
            ``MODA``, ``sMOTA``, ``MOTAL``, ``CLR_Re``, ``CLR_Pr``, ``CLR_F1``,
            ``MTR``, ``PTR``, ``MLR``, ``FP_per_frame`` and the counts
            ``CLR_TP``, ``CLR_FN``, ``CLR_FP``, ``IDSW``, ``MT``, ``PT``,
            ``ML``, ``Frag``, ``CLR_Frames``.
        """
        counts = {
            'CLR_TP': self.tp,
            'CLR_FN': self.fn,
            'CLR_FP': self.fp,
            'IDSW': self.idsw,
            'MT': self.mt,
            'PT': self.pt,
            'ML': self.ml,
            'Frag': self.frag,
            'CLR_Frames': self.frames,
        }
        boxes = max(1, self.tp + self.fn)
        tracks = max(1, self.mt + self.pt + self.ml)
        log_switches = np.log10(self.idsw) if self.idsw else 0
        rates = {
            'MOTA': (self.tp - self.fp - self.idsw) / boxes,
            'MOTP': self.iou / max(1, self.tp),
            'MODA': (self.tp - self.fp) / boxes,
            'sMOTA': (self.iou - self.fp - self.idsw) / boxes,
            'MOTAL': (self.tp - self.fp - log_switches) / boxes,
            'CLR_Re': self.tp / boxes,
            'CLR_Pr': self.tp / max(1, self.tp + self.fp),
            'CLR_F1': self.tp / max(1, self.tp + 0.5 * self.fn + 0.5 * self.fp),
            'MTR': self.mt / tracks,
            'PTR': self.pt / tracks,
            'MLR': self.ml / tracks,
            'FP_per_frame': self.fp / max(1, self.frames),
        }
        if of_sequence and self.tp + self.fn == 0:
            rates = {name: name == 'MLR' for name in rates}
        return {name: float(value) for name, value in rates.items()} | counts


@dataclass(frozen=True)
class Matches:
    """The matches of CLEAR, in the order of time.

    Attributes:
        pair: int64 (M,), the matched pairs of :class:`Overlaps`.
        gt_id: int64 (M,), their ground truth identities, renumbered as there.
        pred_id: int64 (M,), their result identities, renumbered as there.
        last: int64 (M,), for each match the last one of the same ground truth
            identity before it, one of the M, or -1 if it is the first.
    """

    pair: np.ndarray
    gt_id: np.ndarray
    pred_id: np.ndarray
    last: np.ndarray

    @property
    def is_switch(self) -> np.ndarray:
        """Whether the last match was with another result identity, bool (M,)."""
        return (self.last >= 0) & (self.pred_id != self.pred_id[self.last])


def count_clear(overlaps: Overlaps) -> CLEARCounts:
    """Count what CLEAR needs of one sequence, on the pairs of :func:`match_clear`."""
    truth, found = len(overlaps.gt), len(overlaps.pred)
    gt_size = overlaps.gt.per_id
    active = np.cumsum(_both_sides(overlaps)) - 1
    matches = match_clear(overlaps)
    time = active[overlaps.frame[matches.pair]]
    ratio = np.bincount(matches.gt_id, minlength=len(gt_size)) / gt_size
    mt, pt = np.count_nonzero(ratio > 0.8), np.count_nonzero(ratio >= 0.2)
    tp = len(matches.pair)
    is_late = (matches.last >= 0) & (time != time[matches.last] + 1)
    return CLEARCounts(
        tp=tp,
        fn=truth - tp,
        fp=found - tp,
        idsw=int(np.count_nonzero(matches.is_switch)),
        mt=int(mt),
        pt=int(pt - mt),
        ml=int(len(gt_size) - pt),
        frag=int(np.count_nonzero(is_late)),
        iou=float(overlaps.iou[matches.pair].sum()),
        frames=overlaps.length if truth and found else 0,
    )


def _both_sides(overlaps: Overlaps) -> np.ndarray:
    """Find the frames in which both sides have boxes; bool (F,)."""
    return (np.diff(overlaps.gt.start) > 0) & (np.diff(overlaps.pred.start) > 0)


def match_clear(overlaps: Overlaps) -> Matches:
    """Match every frame, given the frame before it.

    Matches need an IoU of 0.5. A match that continues the previous frame's goes
    first, then the total IoU decides. "Previous" is the last frame in which
    both sides have boxes.
    """
    pair = _choose_pairs(overlaps)
    gt_id, pred_id = overlaps.gt_id[pair], overlaps.pred_id[pair]
    return Matches(pair, gt_id, pred_id, last_of_same(gt_id))


def last_of_same(values: np.ndarray) -> np.ndarray:
    """Find for each of (N,) values where the same stood last; int64 (N,), -1: never."""
    order = np.argsort(values, kind='stable')
    same = values[order[1:]] == values[order[:-1]]
    last = np.full(len(values), -1)
    last[order[1:][same]] = order[:-1][same]
    return last


def _choose_pairs(overlaps: Overlaps) -> np.ndarray:
    """Choose the pairs that are matched; int64 (M,), in the order of time."""
    # A frame in which no box has two candidates has one matching, whatever came
    # before; only the others are solved one after the other.
    is_active = _both_sides(overlaps)
    both, active = np.flatnonzero(is_active), np.cumsum(is_active) - 1
    candidate = overlaps.iou >= _THRESHOLD
    contested = _contested_frames(overlaps, candidate)
    chosen = candidate.copy()
    gt_id, pred_id = overlaps.gt_id, overlaps.pred_id
    firsts, lasts = pair_bounds(overlaps, np.arange(overlaps.num_frames))
    before = np.full(overlaps.gt.num_ids, -1)
    for frame in np.flatnonzero(contested):
        pairs = slice(firsts[frame], lasts[frame])
        kept = np.zeros(0, np.int64)  # pairs of the frame before
        if active[frame] > 0:
            last = both[active[frame] - 1]
            kept = np.flatnonzero(chosen[firsts[last] : lasts[last]]) + firsts[last]
        before[gt_id[kept]] = pred_id[kept]
        bonus = _KEEP_BONUS * (before[gt_id[pairs]] == pred_id[pairs])
        score = np.where(candidate[pairs], bonus + overlaps.iou[pairs], 0.0)
        chosen[pairs] &= solve_frame(overlaps, frame, pairs, score)
        before[gt_id[kept]] = -1  # not all: there may be more identities than frames
    return np.flatnonzero(chosen)


def _contested_frames(overlaps: Overlaps, candidate: np.ndarray) -> np.ndarray:
    """Find frames in which some box has more than one candidate; bool (F,)."""
    contested = np.zeros(overlaps.num_frames, dtype=bool)
    for row in (overlaps.gt_row[candidate], overlaps.pred_row[candidate]):
        several = np.bincount(row, minlength=1) > 1
        contested[overlaps.frame[candidate][several[row]]] = True
    return contested
