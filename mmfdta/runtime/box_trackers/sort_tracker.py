# Copyright (c) mmfdta authors.
"""SORT (arXiv 1602.00763) as in MMDetection."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from .base import BoxTracker, check_motion
from .matching import OTHER_CLASS, distances


class SORTTracker(BoxTracker):
    """Matches by overlap with the boxes of the previous frame, without embeddings.

    MMDetection predicts the motion of tracks, but matches their last boxes, and only
    tracks that were found in the previous frame. So nothing else is stored here, and
    settings of the motion and of the lifetime of a track have no effect.

    Args:
        motion: Config of MMDetection's ``KalmanFilter``.
        obj_score_thr: Only detections with a higher score take part.
        reid: Must be None; there is no network for embeddings.
        match_iou_thr: Smallest overlap of a pair.
        num_tentatives: Unused, see above.
        momentums: Unused, as there are no embeddings.
        num_frames_retain: Unused, see above.

    Raises:
        ValueError: If `reid` is set, or `motion` is another.
    """

    def __init__(
        self,
        motion: Mapping[str, Any] | None = None,
        obj_score_thr: float = 0.3,
        reid: Mapping[str, Any] | None = None,
        match_iou_thr: float = 0.7,
        num_tentatives: int = 3,
        momentums: Mapping[str, float] | None = None,
        num_frames_retain: int = 10,
    ) -> None:
        check_motion(motion)
        if reid is not None:
            raise ValueError(
                'tracker.reid: found settings of a network for embeddings, which an '
                'exported tracker does not have; set it to None'
            )
        self.obj_score_thr = obj_score_thr
        self.match_iou_thr = match_iou_thr
        self.reset()

    def reset(self) -> None:
        """Start a new video: no tracks, identities from 0."""
        self.num_identities = 0
        self._frame_id = -1
        # Of the previous frame, sorted by identity.
        self._identities = np.zeros(0, np.int64)
        self._labels = np.zeros(0, np.int64)
        self._boxes = np.zeros((0, 4), np.float32)

    def _associate(
        self, frame_id: int, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        rows = np.flatnonzero(scores > self.obj_score_thr)
        boxes, labels = boxes[rows], labels[rows]
        identities = np.full(len(rows), -1)
        if self._frame_id == frame_id - 1:
            costs = distances(self._boxes, self._labels, boxes, labels)
            costs[~np.isfinite(costs)] = 2 * OTHER_CLASS
            tracks, found = linear_sum_assignment(costs)
            near = costs[tracks, found] < 1 - self.match_iou_thr
            identities[found[near]] = self._identities[tracks[near]]
        newborn = identities < 0
        identities[newborn] = self._new_identities(int(newborn.sum()))
        order = np.argsort(identities)
        self._frame_id = frame_id
        self._identities, self._labels = identities[order], labels[order]
        self._boxes = boxes[order]
        return rows, identities
