# Copyright (c) mmfdta authors.
"""The base classes of the trackers on boxes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmfdta.models.trackers.assignment import check_finite

from . import motion

# Result of a frame: boxes, scores, labels and identities, arrays of one length.
Tracked = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class BoxTracker(ABC):
    """A tracker of MMDetection on NumPy arrays, with the same identities.

    It is the state of one video. Its settings have the names, meanings and defaults of
    MMDetection's.
    """

    num_identities: int

    @abstractmethod
    def reset(self) -> None:
        """Start a new video: no tracks, identities from 0."""

    def track(
        self,
        frame_id: int,
        bboxes: np.ndarray,
        scores: np.ndarray,
        labels: np.ndarray,
        areas: np.ndarray | None = None,
        embeddings: Any = None,
    ) -> Tracked:
        """Track the next frame.

        Args:
            frame_id: Number of the frame; 0 starts a video.
            bboxes: (n, 4) float32 xyxy in pixels.
            scores: (n,) float32.
            labels: (n,) int64 classes; a track keeps its class.
            areas: Unused; part of the interface of trackers.
            embeddings: Unused; part of the interface of trackers.

        Returns:
            Boxes (m, 4), scores, labels and identities (m,) int64 of the tracked
            detections. The order is that of MMDetection's tracker if it gets the best
            score first, as `TrackingByDetection` does.

        Raises:
            ValueError: If boxes or scores are not finite; the state is then as before
                the frame.
        """
        check_finite(np.column_stack([bboxes, scores]), 'boxes or scores', frame_id)
        if frame_id == 0:
            self.reset()
        order = np.argsort(-scores, kind='stable')
        bboxes, scores, labels = bboxes[order], scores[order], labels[order]
        # Boxes without an area have no aspect ratio; such tracks match nothing.
        with np.errstate(all='ignore'):
            rows, identities = self._associate(frame_id, bboxes, scores, labels)
        return bboxes[rows], scores[rows], labels[rows], identities

    @abstractmethod
    def _associate(
        self, frame_id: int, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return indices (m,) of the tracked detections and their identities (m,)."""

    def _new_identities(self, number: int) -> np.ndarray:
        first = self.num_identities
        self.num_identities += number
        return np.arange(first, self.num_identities)


# A track of ByteTrack; OC-SORT has more fields.
FIELDS: list[tuple] = [
    ('identity', np.int64),
    ('label', np.int64),
    ('last_frame', np.int64),  # last frame in which it was found
    ('num_found', np.int64),  # number of frames in which it was found
    ('tentative', np.bool_),
    ('state', np.float64, (5, 4)),  # see `motion`
]


class MotionTracker(BoxTracker):
    """The base class of ByteTrack and OC-SORT: each track has a Kalman filter.

    A new track is tentative until it was found in `num_tentatives` frames, and ends
    with the first frame in which it is not found. Tracks of frame 0 are never
    tentative. Other tracks end when they were not found in `num_frames_retain` frames.

    Args:
        init_track_thr: If there are no tracks, a detection with a higher score starts
            one.
        num_tentatives: Frames until a track is no longer tentative.
        num_frames_retain: Frames until a lost track ends.
        fields: Fields of a track, for ``numpy.dtype``.
    """

    def __init__(
        self,
        init_track_thr: float,
        num_tentatives: int,
        num_frames_retain: int,
        fields: list[tuple],
    ) -> None:
        self.init_track_thr = init_track_thr
        self.num_tentatives = num_tentatives
        self.num_frames_retain = num_frames_retain
        self._fields = np.dtype(fields)
        self.reset()

    def reset(self) -> None:
        """Start a new video: no tracks, identities from 0."""
        self.num_identities = 0
        # Sorted by identity.
        self.tracks = np.zeros(0, self._fields)

    def _associate(
        self, frame_id: int, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        if len(self.tracks) and len(boxes):
            rows, owners = self._match(frame_id, boxes, scores, labels)
        else:
            rows = np.flatnonzero(scores > self.init_track_thr)
            owners = np.full(len(rows), -1)
        boxes, known = boxes[rows], owners >= 0
        found = self.tracks[owners[known]]
        found['last_frame'] = frame_id
        found['num_found'] += 1
        found['tentative'] &= found['num_found'] < self.num_tentatives
        self._find(found, boxes[known])
        self.tracks[owners[known]] = found
        born = np.zeros(int((~known).sum()), self._fields)
        born['identity'] = self._new_identities(len(born))
        born['label'] = labels[rows][~known]
        born['last_frame'] = frame_id
        born['num_found'] = 1
        born['tentative'] = frame_id != 0
        self._begin(born, boxes[~known])
        identities = np.empty(len(rows), np.int64)
        identities[known], identities[~known] = found['identity'], born['identity']
        self.tracks = np.concatenate([self.tracks, born])
        gap = frame_id - self.tracks['last_frame']
        ended = gap >= self.num_frames_retain
        ended |= self.tracks['tentative'] & (gap != 0)
        self.tracks = self.tracks[~ended]
        return rows, identities

    @abstractmethod
    def _match(
        self, frame_id: int, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Match the tracks with detections.

        Returns:
            Indices (m,) of the tracked detections, in the order of the result, and the
            index of each one's track, -1 for a new one.
        """

    def _find(self, found: np.ndarray, boxes: np.ndarray) -> None:
        """Update tracks (n,) with the boxes (n, 4) of their detections, in place."""
        found['state'] = motion.correct(found['state'], motion.measure(boxes))

    def _begin(self, born: np.ndarray, boxes: np.ndarray) -> None:
        """Initialise new tracks (n,) with their boxes (n, 4), in place."""
        born['state'] = motion.begin(motion.measure(boxes))


def check_keys(where: str, found: Mapping[str, float], expected: set[str]) -> None:
    """Refuse thresholds that are not the expected ones.

    Raises:
        ValueError: If one is missing or unknown.
    """
    if set(found) != expected:
        raise ValueError(
            f'tracker.{where}: found {sorted(found)}, expected {sorted(expected)}'
        )


def check_motion(settings: Mapping[str, Any] | None) -> None:
    """Refuse a motion model that is not MMDetection's Kalman filter.

    Its settings have no effect without scores and crops, which these trackers do not
    use.

    Raises:
        ValueError: If it is another.
    """
    kind = 'KalmanFilter' if settings is None else str(settings.get('type'))
    if kind.rpartition('.')[2] != 'KalmanFilter':
        raise ValueError(
            f"tracker.motion.type: found {kind!r}, expected 'KalmanFilter'"
        )
