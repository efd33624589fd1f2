# Copyright (c) mmfdta authors.
"""OC-SORT (arXiv 2203.14360) as in MMDetection."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import motion
from .base import FIELDS, MotionTracker, check_motion
from .matching import distances, match

# Each coordinate of an unknown direction or box; MMDetection tests sums of them.
_UNKNOWN = -1


class OCSORTTracker(MotionTracker):
    """Matches by overlap and direction of motion, then with the tracks' last boxes.

    Args:
        motion: Config of MMDetection's ``KalmanFilter``.
        obj_score_thr: If there are tracks, only detections with a higher score take
            part.
        init_track_thr: If there are no tracks, a detection with a higher score starts
            one. Otherwise every unmatched detection above `obj_score_thr` does.
        weight_iou_with_det_scores: Multiply overlaps by the score.
        match_iou_thr: Smallest overlap of a pair.
        num_tentatives: Frames until a track is no longer tentative.
        vel_consist_weight: Weight of the direction relative to the overlap.
        vel_delta_t: Frames between the two boxes that define a direction.
        reid: Unused, as in MMDetection.
        momentums: Unused, as there are no embeddings.
        num_frames_retain: Frames until a lost track ends.

    Raises:
        ValueError: If `motion` is another.
    """

    def __init__(
        self,
        motion: Mapping[str, Any] | None = None,
        obj_score_thr: float = 0.3,
        init_track_thr: float = 0.7,
        weight_iou_with_det_scores: bool = True,
        match_iou_thr: float = 0.3,
        num_tentatives: int = 3,
        vel_consist_weight: float = 0.2,
        vel_delta_t: int = 3,
        reid: Mapping[str, Any] | None = None,
        momentums: Mapping[str, float] | None = None,
        num_frames_retain: int = 10,
    ) -> None:
        check_motion(motion)
        self.obj_score_thr = obj_score_thr
        self.weight_iou_with_det_scores = weight_iou_with_det_scores
        self.match_iou_thr = match_iou_thr
        self.vel_consist_weight = vel_consist_weight
        window = vel_delta_t + 1
        fields = [
            *FIELDS,
            ('tracked', np.bool_),  # was found in the last processed frame
            ('saved', np.float64, (5, 4)),  # state before it was lost
            ('num_missed', np.int64),  # processed frames since it was found
            ('last', np.float32, (4,)),  # last box in which it was found
            # For the last processed frames: whether it was found, and where.
            ('seen', np.bool_, (window,)),
            ('boxes', np.float32, (window, 4)),
            ('direction', np.float32, (2,)),  # y, x
        ]
        super().__init__(init_track_thr, num_tentatives, num_frames_retain, fields)

    def _match(
        self, frame_id: int, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        tracks = self.tracks
        confirmed = np.flatnonzero(~tracks['tentative'])
        tentative = np.flatnonzero(tracks['tentative'])
        gap = tracks['last_frame'][confirmed] != frame_id - 1
        motion.stop_growing(tracks['state'], confirmed[gap])
        safe = confirmed[tracks['tracked'][confirmed]]
        tracks['saved'][safe] = tracks['state'][safe]
        tracks['state'][confirmed] = motion.predict(tracks['state'][confirmed])
        places = motion.boxes_of(tracks['state'])

        def owners(
            which: np.ndarray, places: np.ndarray, found: np.ndarray, by_direction: bool
        ) -> np.ndarray:
            """Match some tracks with some detections (m,); return tracks, -1: none."""
            costs = distances(
                places,
                tracks['label'][which],
                boxes[found],
                labels[found],
                scores[found] if self.weight_iou_with_det_scores else None,
            )
            if by_direction:
                angles = _angles(tracks[which], boxes[found])
                costs += angles * self.vel_consist_weight
            return np.append(which, -1)[match(costs, 1 - self.match_iou_thr)]

        rest = np.flatnonzero(scores > self.obj_score_thr)
        rows, found = [], []
        for which in (confirmed, tentative):
            matched = owners(which, places[which], rest, by_direction=True)
            rows.append(rest[matched >= 0])
            found.append(matched[matched >= 0])
            rest = rest[matched < 0]
        lost = np.setdiff1d(np.arange(len(tracks)), np.concatenate(found))
        recovered = owners(lost, tracks['last'][lost], rest, by_direction=False)
        rows += [rest[recovered >= 0], rest[recovered < 0]]
        found += [recovered[recovered >= 0], recovered[recovered < 0]]

        lost = np.setdiff1d(lost, recovered)
        tracks['tracked'][lost] = False
        tracks['num_missed'][lost] += 1
        tracks['seen'][lost] = _shift(tracks['seen'][lost], False)
        tracks['boxes'][lost] = _shift(tracks['boxes'][lost], 0)
        return np.concatenate(rows), np.concatenate(found)

    def _find(self, found: np.ndarray, boxes: np.ndarray) -> None:
        back = ~found['tracked']
        found['state'][back] = _smooth(found[back], boxes[back])
        # MMDetection's OC-SORT corrects twice, because its base class already does it.
        super()._find(found, boxes)
        super()._find(found, boxes)
        found['tracked'] = True
        found['num_missed'] = 0
        self._remember(found, boxes)
        found['direction'] = _direction(_reference(found), boxes)

    def _begin(self, born: np.ndarray, boxes: np.ndarray) -> None:
        super()._begin(born, boxes)
        born['tracked'] = True
        self._remember(born, boxes)
        born['direction'] = _UNKNOWN

    def _remember(self, tracks: np.ndarray, boxes: np.ndarray) -> None:
        tracks['last'] = boxes
        tracks['seen'] = _shift(tracks['seen'], True)
        tracks['boxes'] = _shift(tracks['boxes'], boxes)


def _shift(window: np.ndarray, value: Any) -> np.ndarray:
    """Drop the oldest entry of windows (N, T, ...) and append a new one (N, ...)."""
    window = np.roll(window, -1, axis=1)
    window[:, -1] = value
    return window


def _reference(tracks: np.ndarray) -> np.ndarray:
    """Return the boxes (N, 4) from which directions start: old ones, else the last."""
    return np.where(tracks['seen'][:, :1], tracks['boxes'][:, 0], tracks['last'])


def _unit_vectors(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return directions (..., 2) y, x from the centres of boxes xyxy to others'."""
    centres = [
        (b[..., 1::-1] + b[..., 3:1:-1]) / np.float32(2) for b in (boxes, others)
    ]
    shift = centres[1] - centres[0]
    length = np.sqrt(shift[..., 0] ** 2 + shift[..., 1] ** 2) + np.float32(1e-6)
    return shift / length[..., None]


def _direction(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return directions (N, 2) of tracks; unknown if coordinates sum up below 0."""
    outside = (boxes.sum(1) < 0) | (others.sum(1) < 0)
    directions = _unit_vectors(boxes, others)
    return np.where(outside[:, None], np.float32(_UNKNOWN), directions)


def _angles(tracks: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return angles (N, m) in -0.5..0.5 between the directions of tracks and to boxes.

    An angle is -0.5 straight ahead and 0 if the direction of a track is unknown.
    """
    reference, direction = _reference(tracks), tracks['direction']
    known = direction.sum(1) != 2 * _UNKNOWN
    known &= reference.sum(1) != 4 * _UNKNOWN
    products = _unit_vectors(reference[:, None], boxes) * direction[:, None]
    cosine = np.clip(products[..., 0] + products[..., 1], -1, 1)
    return (np.arccos(cosine) - np.pi / 2) / np.pi * known[:, None]


def _smooth(lost: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return states (n, 5, 4) of recovered tracks, as if they had moved straight.

    Args:
        lost: (n,) tracks.
        boxes: (n, 4) boxes in which they are found again.
    """
    states, missed = lost['saved'].copy(), lost['num_missed']
    step = (boxes - lost['last']) / (missed + 1).astype(np.float32)[:, None]
    for i in range(missed.max(initial=0)):
        still = missed > i
        between = lost['last'][still] + np.float32(i + 1) * step[still]
        states[still] = motion.correct(states[still], motion.measure(between))
    return states
