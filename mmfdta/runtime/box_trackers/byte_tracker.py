# Copyright (c) mmfdta authors.
"""ByteTrack (arXiv 2110.06864) as in MMDetection."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import motion
from .base import FIELDS, MotionTracker, check_keys, check_motion
from .matching import distances, match

_SCORE_THRS: Mapping[str, float] = dict(high=0.6, low=0.1)
_IOU_THRS: Mapping[str, float] = dict(high=0.1, low=0.5, tentative=0.3)


class ByteTracker(MotionTracker):
    """Matches detections with high scores first, then the others with unmatched tracks.

    Args:
        motion: Config of MMDetection's ``KalmanFilter``.
        obj_score_thrs: ``high`` and ``low``: detections with a higher score are matched
            in the first and in the second round.
        init_track_thr: If there are no tracks, a detection with a higher score starts
            one. Otherwise every unmatched detection above ``high`` does.
        weight_iou_with_det_scores: Multiply overlaps by the score in the first round
            and for tentative tracks.
        match_iou_thrs: ``high``, ``low`` and ``tentative``: smallest overlap of a pair
            in the first round, in the second and for tentative tracks.
        num_tentatives: Frames until a track is no longer tentative.
        momentums: Unused, as there are no embeddings.
        num_frames_retain: Frames until a lost track ends.

    Raises:
        ValueError: If thresholds are missing or unknown, or `motion` is another.
    """

    def __init__(
        self,
        motion: Mapping[str, Any] | None = None,
        obj_score_thrs: Mapping[str, float] = _SCORE_THRS,
        init_track_thr: float = 0.7,
        weight_iou_with_det_scores: bool = True,
        match_iou_thrs: Mapping[str, float] = _IOU_THRS,
        num_tentatives: int = 3,
        momentums: Mapping[str, float] | None = None,
        num_frames_retain: int = 10,
    ) -> None:
        check_motion(motion)
        check_keys('obj_score_thrs', obj_score_thrs, {'high', 'low'})
        check_keys('match_iou_thrs', match_iou_thrs, {'high', 'low', 'tentative'})
        self.obj_score_thrs = obj_score_thrs
        self.weight_iou_with_det_scores = weight_iou_with_det_scores
        self.match_iou_thrs = match_iou_thrs
        super().__init__(init_track_thr, num_tentatives, num_frames_retain, FIELDS)

    def _match(
        self, frame_id: int, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        tracks = self.tracks
        confirmed = np.flatnonzero(~tracks['tentative'])
        tentative = np.flatnonzero(tracks['tentative'])
        seen_before = tracks['last_frame'] == frame_id - 1
        motion.stop_growing(tracks['state'], confirmed[~seen_before[confirmed]])
        tracks['state'][confirmed] = motion.predict(tracks['state'][confirmed])
        places = motion.boxes_of(tracks['state'])

        def owners(
            which: np.ndarray, found: np.ndarray, least: str, weighted: bool
        ) -> np.ndarray:
            """Match some tracks with some detections (m,); return tracks, -1: none."""
            costs = distances(
                places[which],
                tracks['label'][which],
                boxes[found],
                labels[found],
                scores[found] if weighted else None,
            )
            matched = match(costs, 1 - self.match_iou_thrs[least])
            return np.append(which, -1)[matched]

        weighted = self.weight_iou_with_det_scores
        high = np.flatnonzero(scores > self.obj_score_thrs['high'])
        first = owners(confirmed, high, 'high', weighted)
        rest, high = high[first < 0], high[first >= 0]
        first = first[first >= 0]
        newer = owners(tentative, rest, 'tentative', weighted)
        lost = np.setdiff1d(confirmed[seen_before[confirmed]], first)
        is_low = scores <= self.obj_score_thrs['high']
        low = np.flatnonzero(is_low & (scores > self.obj_score_thrs['low']))
        second = owners(lost, low, 'low', weighted=False)
        low, second = low[second >= 0], second[second >= 0]
        return np.concatenate([high, rest, low]), np.concatenate([first, newer, second])
