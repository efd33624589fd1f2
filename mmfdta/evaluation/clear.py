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


def count_clear(overlaps: Overlaps) -> CLEARCounts:
    """Count what CLEAR needs of one sequence, on the pairs of :func:`match_clear`."""
    truth, found = len(overlaps.gt), len(overlaps.pred)
    gt_size = overlaps.gt.per_id
    active = np.cumsum(_both_sides(overlaps)) - 1
    matched = match_clear(overlaps)
    order = matched[np.argsort(overlaps.gt_id[matched], kind='stable')]
    gt_id, pred_id = overlaps.gt_id[order], overlaps.pred_id[order]
    time = active[overlaps.frame[order]]
    same = gt_id[1:] == gt_id[:-1]
    ratio = np.bincount(gt_id, minlength=len(gt_size)) / gt_size
    mt, pt = np.count_nonzero(ratio > 0.8), np.count_nonzero(ratio >= 0.2)
    tp = len(matched)
    return CLEARCounts(
        tp=tp,
        fn=truth - tp,
        fp=found - tp,
        idsw=int(np.count_nonzero(same & (pred_id[1:] != pred_id[:-1]))),
        mt=int(mt),
        pt=int(pt - mt),
        ml=int(len(gt_size) - pt),
        frag=int(np.count_nonzero(same & (time[1:] != time[:-1] + 1))),
        iou=float(overlaps.iou[matched].sum()),
        frames=overlaps.length if truth and found else 0,
    )


def _both_sides(overlaps: Overlaps) -> np.ndarray:
    """Find the frames in which both sides have boxes; bool (F,)."""
    return (np.diff(overlaps.gt.start) > 0) & (np.diff(overlaps.pred.start) > 0)


def match_clear(overlaps: Overlaps) -> np.ndarray:
    """Match every frame, given the frame before it.

    Matches need an IoU of 0.5. A match that continues the previous frame's goes
    first, then the total IoU decides. "Previous" is the last frame in which
    both sides have boxes.

    Returns:
        int64 (M,), the chosen pairs in the order of time.
    """
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
        if active[frame] > 0:
            last_frame = both[active[frame] - 1]
            last = slice(firsts[last_frame], lasts[last_frame])
            kept = np.flatnonzero(chosen[last]) + last.start
            before[gt_id[kept]] = pred_id[kept]
        bonus = _KEEP_BONUS * (before[gt_id[pairs]] == pred_id[pairs])
        score = np.where(candidate[pairs], bonus + overlaps.iou[pairs], 0.0)
        chosen[pairs] &= solve_frame(overlaps, frame, pairs, score)
        before[:] = -1
    return np.flatnonzero(chosen)


def _contested_frames(overlaps: Overlaps, candidate: np.ndarray) -> np.ndarray:
    """Find frames in which some box has more than one candidate; bool (F,)."""
    contested = np.zeros(overlaps.num_frames, dtype=bool)
    for row in (overlaps.gt_row[candidate], overlaps.pred_row[candidate]):
        several = np.bincount(row, minlength=1) > 1
        contested[overlaps.frame[candidate][several[row]]] = True
    return contested
