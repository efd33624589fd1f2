# Copyright (c) mmfdta authors.
"""Matches tracks and detections by overlap."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from mmfdta.models.trackers.assignment import box_ious

# Added to the distance of boxes of different classes; larger than any distance.
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
        found_scores: (m,) float32, factors of the overlaps; None for no factors.

    Returns:
        (N, m) float32; for different classes larger by a million.
    """
    overlaps = box_ious(boxes, found_boxes)
    if found_scores is not None:
        overlaps *= found_scores
    return 1 - overlaps + OTHER_CLASS * (labels[:, None] != found_labels)


def match(costs: np.ndarray, limit: float) -> np.ndarray:
    """Find the pairs with the smallest total of cost minus limit.

    The result is that of ``lap.lapjv(costs, extend_cost=True, cost_limit=limit)``; no
    pair costs as much as the limit or more.

    Args:
        costs: (N, m) of tracks and detections; NaN never matches.
        limit: Cost from which a pair is not matched.

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
