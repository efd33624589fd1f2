# Copyright (c) mmfdta authors.
"""Identity scores (Ristani et al., ECCV 2016 workshops, arXiv 1609.01775)."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from .matching import Overlaps

THRESHOLD = 0.5


@dataclass(frozen=True)
class IdentityCounts:
    """What the identity scores add up over sequences.

    Attributes:
        idtp: Boxes explained by the best one-to-one map of identities.
        idfn: Ground truth boxes that are not.
        idfp: Result boxes that are not.
    """

    idtp: int
    idfn: int
    idfp: int

    def scores(self) -> dict[str, float]:
        """Compute F1, precision and recall of identities; with the counts."""
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

    Misses and false alarms are fewest where the explained boxes are most, so the
    assignment runs on the numbers of agreeing frames only, and only on pairs of
    identities that agree somewhere: memory grows with these, not with the product
    of both sides.
    """
    gt_id, pred_id, pair_id = overlaps.id_pairs(overlaps.iou >= THRESHOLD)
    frames = np.bincount(pair_id, minlength=len(gt_id))
    idtp = _explained(gt_id, pred_id, frames) if len(gt_id) else 0
    return IdentityCounts(idtp, len(overlaps.gt) - idtp, len(overlaps.pred) - idtp)


def _explained(gt_id: np.ndarray, pred_id: np.ndarray, frames: np.ndarray) -> int:
    """Most frames that a one-to-one map of identities explains.

    The sparse solver matches every row, so each gets a partner of its own that
    stands for "unassigned". It also takes no zeros: all weights are one higher,
    which adds the number of rows to any solution.
    """
    rows, row = np.unique(gt_id, return_inverse=True)
    columns, column = np.unique(pred_id, return_inverse=True)
    nobody = np.arange(len(rows))
    row = np.concatenate([row, nobody])
    column = np.concatenate([column, len(columns) + nobody])
    weight = np.concatenate([frames + 1, np.ones_like(nobody)]).astype(float)
    # The solver of SciPy 1.11 takes no other indices.
    weights = coo_array((weight, (row.astype(np.int32), column.astype(np.int32))))
    weights = weights.tocsr()
    matched = min_weight_full_bipartite_matching(weights, maximize=True)
    return int(weights[matched].sum()) - len(rows)
