# Copyright (c) mmfdta authors.
"""Higher Order Tracking Accuracy (Luiten et al., IJCV 2021, arXiv 2009.07736)."""

from dataclasses import dataclass

import numpy as np

from .matching import EPS, Overlaps, match_frames

ALPHAS = np.arange(0.05, 0.99, 0.05)


@dataclass(frozen=True)
class HOTACounts:
    """What HOTA adds up over sequences; every array is float64 (19,).

    Attributes:
        tp: True positives at each localisation threshold.
        fn: Missed ground truth boxes.
        fp: Result boxes without a match.
        ass_a: Association accuracy, summed over true positives.
        ass_re: Association recall, summed likewise.
        ass_pr: Association precision, summed likewise.
        iou: IoU, summed over true positives.
    """

    tp: np.ndarray
    fn: np.ndarray
    fp: np.ndarray
    ass_a: np.ndarray
    ass_re: np.ndarray
    ass_pr: np.ndarray
    iou: np.ndarray

    def curves(self) -> dict[str, np.ndarray]:
        """Compute the scores at each threshold, in the shape of the counts."""
        tp, fn, fp = self.tp, self.fn, self.fp
        det_re = tp / np.maximum(1, tp + fn)
        det_a = tp / np.maximum(1, tp + fn + fp)
        ass_a = self.ass_a / np.maximum(1, tp)
        return {
            'HOTA': np.sqrt(det_a * ass_a),
            'DetA': det_a,
            'AssA': ass_a,
            'DetRe': det_re,
            'DetPr': tp / np.maximum(1, tp + fp),
            'AssRe': self.ass_re / np.maximum(1, tp),
            'AssPr': self.ass_pr / np.maximum(1, tp),
            'LocA': np.maximum(1e-10, self.iou) / np.maximum(1e-10, tp),
            'OWTA': np.sqrt(det_re * ass_a),
        }

    def scores(self) -> dict[str, float | np.ndarray]:
        """Compute the scores.

        Returns:
            :meth:`curves` and the counts ``HOTA_TP``, ``HOTA_FN``,
            ``HOTA_FP`` as float64 (19,), one for each threshold; ``HOTA(0)``,
            ``LocA(0)`` and ``HOTALocA(0)`` at the lowest one.
        """
        curves = self.curves()
        hota, loc_a = float(curves['HOTA'][0]), float(curves['LocA'][0])
        return {
            **curves,
            'HOTA(0)': hota,
            'LocA(0)': loc_a,
            'HOTALocA(0)': hota * loc_a,
            'HOTA_TP': self.tp,
            'HOTA_FN': self.fn,
            'HOTA_FP': self.fp,
        }


def count_hota(overlaps: Overlaps) -> HOTACounts:
    """Count what HOTA needs of one sequence.

    One matching serves all thresholds: it maximises IoU times the overall
    alignment of the two identities (section 5.1 of the paper); a threshold then
    keeps the matched pairs that reach it.
    """
    gt_size, pred_size = overlaps.gt.per_id, overlaps.pred.per_id
    gt_id, pred_id, pair_id = overlaps.id_pairs()
    boxes = gt_size[gt_id] + pred_size[pred_id]
    potential = np.bincount(pair_id, weights=overlaps.share, minlength=len(gt_id))
    alignment = potential / (boxes - potential)
    matched = match_frames(overlaps, alignment[pair_id] * overlaps.iou)
    iou = overlaps.iou[matched]
    # Number of thresholds that each matched pair reaches.
    reached = np.searchsorted(ALPHAS - EPS, iou, side='right')
    levels = len(ALPHAS) + 1
    table = np.bincount(
        pair_id[matched] * levels + reached, minlength=len(gt_id) * levels
    )
    matches = _at_least(table.reshape(-1, levels))
    tp = matches.sum(axis=0).astype(float)
    return HOTACounts(
        tp=tp,
        fn=len(overlaps.gt) - tp,
        fp=len(overlaps.pred) - tp,
        ass_a=(matches**2 / (boxes[:, None] - matches)).sum(axis=0),
        ass_re=(matches**2 / gt_size[gt_id][:, None]).sum(axis=0),
        ass_pr=(matches**2 / pred_size[pred_id][:, None]).sum(axis=0),
        iou=_at_least(np.bincount(reached, weights=iou, minlength=levels)[None])[0],
    )


def _at_least(by_level: np.ndarray) -> np.ndarray:
    """Turn values by number of reached thresholds into values by threshold."""
    return by_level[:, :0:-1].cumsum(axis=1)[:, ::-1]
