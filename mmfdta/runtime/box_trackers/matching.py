# Copyright (c) mmfdta authors.
"""Which detection continues which track, by overlap."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from mmfdta.models.trackers.assignment import box_ious

# More than any distance of two boxes.
OTHER_CLASS = np.float32(1e6)


def distances(
    boxes: np.ndarray,
    labels: np.ndarray,
    found_boxes: np.ndarray,
    found_labels: np.ndarray,
    found_scores: np.ndarray | None = None,
) -> np.ndarray:
    """Return one minus the overlap of tracks and detections.

    Args:
        boxes: xyxy (N, 4) float32 of the tracks.
        labels: (N,) their classes.
        found_boxes: xyxy (m, 4) float32 of the detections.
        found_labels: (m,) their classes.
        found_scores: (m,) float32 that overlaps are multiplied with; None does not.

    Returns:
        (N, m) float32; that of different classes is larger by a million.
    """
    overlaps = box_ious(boxes, found_boxes)
    if found_scores is not None:
        overlaps *= found_scores
    return 1 - overlaps + OTHER_CLASS * (labels[:, None] != found_labels)


def match(costs: np.ndarray, limit: float) -> np.ndarray:
    """Find the cheapest pairs, if being alone costs half the limit on each side.

    That is what ``lap.lapjv(costs, extend_cost=True, cost_limit=limit)`` finds: no
    pair at or above the limit, and of all sets of pairs the one with the least sum of
    costs less the limit.

    Args:
        costs: (N, m) of tracks and detections; what is not a number never matches.
        limit: Cost from which on a pair is worth nothing.

    Returns:
        (m,) int64, the track of each detection, -1 for none.
    """
    gains = np.minimum(costs.astype(np.float64) - limit, 0)
    gains[np.isnan(gains)] = 0
    owners = np.full(costs.shape[1], -1)
    rows, columns = linear_sum_assignment(gains)
    worth = gains[rows, columns] < 0
    owners[columns[worth]] = rows[worth]
    return owners
