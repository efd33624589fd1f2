# Copyright (c) mmfdta authors.
"""Identity scores (Ristani et al., ECCV 2016 workshops, arXiv 1609.01775)."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from .overlap import Overlaps

_THRESHOLD = 0.5


@dataclass(frozen=True)
class IdentityCounts:
    """What the identity scores add up over sequences.

    Attributes:
        idtp (int): Boxes explained by the best one-to-one map of identities.
        idfn (int): Ground truth boxes that are not.
        idfp (int): Result boxes that are not.
    """

    idtp: int
    idfn: int
    idfp: int

    def __add__(self, other: 'IdentityCounts') -> 'IdentityCounts':
        return IdentityCounts(
            self.idtp + other.idtp, self.idfn + other.idfn, self.idfp + other.idfp
        )

    def scores(self) -> dict[str, float]:
        """Compute the scores.

        Returns:
            dict: ``IDF1``, ``IDP``, ``IDR`` and the counts ``IDTP``, ``IDFN``,
            ``IDFP``.
        """
        both = self.idtp + 0.5 * self.idfp + 0.5 * self.idfn
        return {
            'IDF1': self.idtp / max(1.0, both),
            'IDP': self.idtp / max(1.0, self.idtp + self.idfp),
            'IDR': self.idtp / max(1.0, self.idtp + self.idfn),
            'IDTP': self.idtp,
            'IDFN': self.idfn,
            'IDFP': self.idfp,
        }


def count_identity(overlaps: Overlaps) -> IdentityCounts:
    """Count what the identity scores need of one sequence.

    Misses and false alarms are fewest where the explained boxes are most, so
    the assignment runs on the counts of agreeing frames only, without the
    padding that lets identities stay unassigned.

    Args:
        overlaps (Overlaps): Pairs of boxes.

    Returns:
        IdentityCounts: The sums.
    """
    gt_id, pred_id, pair_id = overlaps.id_pairs(overlaps.iou >= _THRESHOLD)
    rows, row = np.unique(gt_id, return_inverse=True)
    columns, column = np.unique(pred_id, return_inverse=True)
    frames = np.zeros((len(rows), len(columns)))
    frames[row, column] = np.bincount(pair_id, minlength=len(gt_id))
    idtp = int(frames[linear_sum_assignment(frames, maximize=True)].sum())
    return IdentityCounts(idtp, len(overlaps.gt) - idtp, len(overlaps.pred) - idtp)
