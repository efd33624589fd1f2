# Copyright (c) mmfdta authors.
"""Trackers of exported models on NumPy arrays, each with the state of one video."""

import inspect
from collections.abc import Mapping
from numbers import Real
from typing import Any, Protocol

import numpy as np

from mmfdta.models.trackers.assignment import IdentityAssignment
from mmfdta.models.trackers.embedding_memory import TrajectoryHistory

from .box_trackers import ByteTracker, OCSORTTracker, SORTTracker
from .box_trackers.base import Tracked

#: Types of `model.tracker` that run without PyTorch, and the classes that have their
#: settings as arguments.
TRACKERS: Mapping[str, type] = {
    'FDTATracker': IdentityAssignment,
    'ByteTracker': ByteTracker,
    'OCSORTTracker': OCSORTTracker,
    'SORTTracker': SORTTracker,
}


class Association(Protocol):
    """The exported association."""

    def __call__(
        self,
        features: np.ndarray,
        missing: np.ndarray,
        words: np.ndarray,
        embeddings: np.ndarray,
    ) -> np.ndarray:
        """Score the words of live trajectories.

        Args:
            features: (T, N, C) float32 embeddings of N trajectories in T frames, 0
                where missing.
            missing: (T, N) bool.
            words: (N,) int64.
            embeddings: (n, C) float32 of the detections.

        Returns:
            Probabilities (n, K + 1); the last column is "newborn".
        """


class ArrayTracker(Protocol):
    """A tracker on arrays, with the state of one video."""

    def reset(self) -> None:
        """Start a new video: no tracks, identities from 0."""

    def track(
        self,
        frame_id: int,
        bboxes: np.ndarray,
        scores: np.ndarray,
        labels: np.ndarray,
        areas: np.ndarray | None = None,
        embeddings: np.ndarray | None = None,
    ) -> Tracked:
        """Track the next frame.

        Args:
            frame_id: Number of the frame; 0 starts a video.
            bboxes: (n, 4) float32 xyxy in pixels.
            scores: (n,) float32.
            labels: (n,) int64 classes.
            areas: (n,) float32 in square pixels; None uses the areas of the boxes.
            embeddings: (n, C) float32, if the tracker compares them.

        Returns:
            Boxes (m, 4), scores, labels and identities (m,) int64 of the tracked
            detections.

        Raises:
            ValueError: If boxes or scores are not finite; the state is then as before
                the frame.
        """


class WordTracker:
    """FDTA's tracker: :class:`IdentityAssignment` with the exported association.

    Args:
        association: Scores ID words.
        **settings: Settings of :class:`FDTATracker`.

    Attributes:
        assignment: Assigns identities; it has the state of the video.
    """

    def __init__(self, association: Association, **settings: Any) -> None:
        self._association = association
        self.assignment: IdentityAssignment[np.ndarray] = IdentityAssignment(**settings)

    def reset(self) -> None:
        """Start a new video: no tracks, identities from 0."""
        self.assignment.reset()

    def track(
        self,
        frame_id: int,
        bboxes: np.ndarray,
        scores: np.ndarray,
        labels: np.ndarray,
        areas: np.ndarray | None = None,
        embeddings: np.ndarray | None = None,
    ) -> Tracked:
        """Track the next frame, see :meth:`ArrayTracker.track`.

        Raises:
            ValueError: If there are no embeddings, shapes do not fit, or boxes, scores
                or ID scores are not finite; the state is then as before the frame.
        """
        if embeddings is None:
            raise ValueError('embeddings: found none, but FDTATracker compares them')
        if frame_id == 0:
            self.reset()
        rows, identities = self.assignment.associate(
            bboxes, scores, labels, embeddings, self._score, areas
        )
        return bboxes[rows], scores[rows], labels[rows], identities

    def _score(
        self, history: TrajectoryHistory[np.ndarray], embeddings: np.ndarray
    ) -> np.ndarray:
        return self._association(
            history.features, history.masks, history.id_labels, embeddings
        )


def resolved_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings of a tracker, including defaults.

    Args:
        settings: A config's ``model.tracker``, or a part of it with its ``type``.

    Returns:
        ``type`` without a scope, and every setting.

    Raises:
        ValueError: If the tracker does not run without PyTorch, there is no such
            setting, or a setting that must be a number is not.
    """
    kind = str(settings.get('type')).rpartition('.')[2]
    if kind not in TRACKERS:
        raise ValueError(
            f'tracker.type: found {settings.get("type")!r}, expected one of '
            f'{list(TRACKERS)}: others do not run without PyTorch'
        )
    arguments = inspect.signature(TRACKERS[kind]).parameters
    found = {name: value for name, value in settings.items() if name != 'type'}
    defaults = {name: argument.default for name, argument in arguments.items()}
    for name, value in found.items():
        if name not in defaults:
            raise ValueError(
                f'tracker.{name}: found {value!r}, but {kind} has no such setting, '
                f'only {", ".join(defaults)}'
            )
        if _is_number(defaults[name]) and not _is_number(value):
            raise ValueError(f'tracker.{name}: found {value!r}, expected a number')
    return dict(type=kind, **(defaults | found))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def build_tracker(
    settings: Mapping[str, Any], association: Association | None = None
) -> ArrayTracker:
    """Build the tracker of an exported model, for one video.

    Args:
        settings: A config's ``model.tracker``.
        association: Scores ID words for `FDTATracker`; other trackers do not use it.

    Raises:
        ValueError: If the tracker does not run without PyTorch, a setting is unknown
            or out of its range, or an association is missing.
    """
    resolved = resolved_settings(settings)
    kind = resolved.pop('type')
    if kind != 'FDTATracker':
        return TRACKERS[kind](**resolved)
    if association is None:
        raise ValueError(
            'association: found none, but FDTATracker needs it for the scores of words'
        )
    return WordTracker(association, **resolved)
