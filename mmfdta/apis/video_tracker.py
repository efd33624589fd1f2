# Copyright (c) mmfdta authors.
"""Videos frame by frame, whatever it is that tracks in the frames."""

import difflib
import os
import threading
from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, overload

import numpy as np

from mmfdta.models.trackers.gallery import LEARNED_THRESHOLD, IdentityGallery
from mmfdta.structures.tracks import Tracks

from .frame_inputs import to_bgr
from .tracking_session import TrackingSession

MOST_TOGETHER = 8
"""Frames of several videos that are given to a model at a time, at most."""
# So many classes are all named in a message.
_LISTED = 12
# What people call classes of COCO.
_SAME = dict(
    people='person',
    persons='person',
    human='person',
    pedestrian='person',
    pedestrians='person',
    bike='bicycle',
    motorbike='motorcycle',
    scooter='motorcycle',
    plane='airplane',
    phone='cell phone',
    sofa='couch',
    van='truck',
    lorry='truck',
)


class VideoTracker(TrackingSession):
    """Tracks videos on one model; what is common to all models.

    It is a session itself, for one video at a time; :meth:`session` makes more. A
    subclass loads a model, calls :meth:`name_classes`, sets ``preprocessor`` and
    ``state`` and says how prepared frames are tracked.

    Args:
        channel_order: ``'bgr'`` (OpenCV's, MMDetection's) or ``'rgb'``: the order
            of the frames given to :meth:`step`.
        batch_size: Frames of a video that the detector takes at a time; None lets
            :meth:`choose_batch` say it.

    Attributes:
        classes: Names of the model's classes, where known.
        kept_classes: Names of those that are returned.
        class_numbers: What column 8 of MOTChallenge text gets for each label; None: -1.
        preprocessor: Makes model inputs of frames.
        gallery: Who is remembered from video to video; None without a gallery.
        state: State of its own video.
        largest_batch: Most frames that :meth:`choose_batch` says.
        keep_embeddings: Tracks have embeddings.

    Raises:
        ValueError: If an argument is wrong.
    """

    class_numbers: Sequence[int] | None
    largest_batch = 1
    keep_embeddings = False

    def __init__(self, channel_order: str, batch_size: int | None) -> None:
        if channel_order not in ('bgr', 'rgb'):
            raise ValueError(
                f"channel_order: found {channel_order!r}, expected 'bgr' or 'rgb'"
            )
        if batch_size is not None and batch_size < 1:
            raise ValueError(f'batch_size: found {batch_size}, expected at least 1')
        self.batch_size = batch_size
        self._rgb = channel_order == 'rgb'
        # Held while the model computes or is copied.
        self._lock = threading.RLock()

    @property
    def owner(self) -> 'VideoTracker':
        """The tracker itself."""
        return self

    def name_classes(
        self,
        classes: Sequence[str],
        numbers: Sequence[int] | None,
        kept: Sequence[str | int] | None,
    ) -> None:
        """Say what the labels of the model mean, and which are returned.

        Args:
            classes: Names of the model's classes, where known.
            numbers: What column 8 of MOTChallenge text gets for each label; None: -1.
            kept: Names, in any case, or numbers of the classes that are returned; None
                returns all.

        Raises:
            ValueError: If there is no such class, or none is kept.
        """
        self.classes = self.kept_classes = tuple(classes)
        self.class_numbers = numbers
        self._kept = None if kept is None else self._find_labels(kept)
        if self._kept is not None and self.classes:
            self.kept_classes = tuple(self.classes[i] for i in self._kept)

    def open_gallery(
        self,
        gallery: IdentityGallery | str | os.PathLike,
        weights: str | None,
        threshold: float = LEARNED_THRESHOLD,
    ) -> IdentityGallery:
        """Set :attr:`gallery`.

        Args:
            gallery: One, or the name of its file ``*.npz``, which need not be there.
            weights: Names the weights that its embeddings come from; None if they
                are random.
            threshold: Of a gallery that is opened here.

        Returns:
            The gallery.

        Raises:
            ValueError: If the file is no gallery, or that of other weights.
        """
        if not isinstance(gallery, IdentityGallery):
            gallery = IdentityGallery.open(gallery, threshold=threshold)
        gallery.of_weights(weights or 'random weights')
        self.gallery = gallery
        return gallery

    def _find_labels(self, classes: Sequence[str | int]) -> np.ndarray:
        """Turn names or numbers of classes into labels."""
        labels: list[int] = []
        for wanted in [classes] if isinstance(classes, str | int) else classes:
            label = _find_label(wanted, self.classes)
            parts = [part for part in str(wanted).split(',') if part.strip()]
            if label is None and parts and ',' in str(wanted):
                labels += self._find_labels(parts).tolist()
            elif label is None:
                raise ValueError(
                    f'classes: found {wanted!r}, {_offer(wanted, self.classes)}'
                )
            else:
                labels.append(label)
        if not labels:
            raise ValueError(
                f'classes: found {classes!r}, expected at least one; None returns all'
            )
        return np.array(list(dict.fromkeys(labels)), dtype=np.int64)

    @overload
    def step(
        self, frame: Mapping[TrackingSession, Any]
    ) -> dict[TrackingSession, Tracks]: ...
    @overload
    def step(self, frame: Any) -> Tracks: ...
    def step(self, frame: Any) -> Tracks | dict[TrackingSession, Tracks]:
        """Track the next frame of a video, or of several videos at once.

        Of several videos the detector is given the frames together that have one size
        when they are prepared, at most 8 at a time or `batch_size`; nothing is padded,
        so that each session gets what it gets alone, except for the last digits of a
        batch. Models that take frames one by one are given them one by one.

        No session has taken its frame if one is refused, or the detector fails on any.
        What fails later, association or a model that does not detect apart from it, has
        changed the sessions before, whose ``num_frames`` says so.

        Args:
            frame: See :meth:`TrackingSession.step`; the video is that of the tracker
                itself. Or ``{session: frame, ...}``, the next frame of each session;
                the tracker itself is a session, too.

        Returns:
            See :meth:`TrackingSession.step`; or ``{session: tracks, ...}`` in the order
            of the frames.

        Raises:
            ValueError: If one is no such frame, a box is not finite, or a session is
                another model's.
            RuntimeError: If a session is in the middle of :meth:`track`.
        """
        if not isinstance(frame, Mapping):
            return self.step({self: frame})[self]
        for session in frame:
            if not isinstance(session, TrackingSession):
                raise ValueError(
                    f'step: found {session!r} as a key, expected sessions, which '
                    'session() makes'
                )
            if session.owner is not self:
                raise ValueError(
                    'step: found a session of another tracker, expected those that '
                    'session() of this one made'
                )
            session.check_step()
        samples = self._prepare(frame)
        if len(samples) == 1:
            ((session, sample),) = samples.items()
            found = session.predict_prepared([sample], session.num_frames + 1)
            session.num_frames += 1
            return {session: found[0]}
        groups: dict[Hashable, list[TrackingSession]] = {}
        for session, sample in samples.items():
            groups.setdefault(self.size_of(sample), []).append(session)
        finish: dict[TrackingSession, Callable[[], Tracks]] = {}
        for group in groups.values():
            most = self.most_together(samples[group[0]])
            for first in range(0, len(group), most):
                together = group[first : first + most]
                prepared = [samples[session] for session in together]
                ends = self.begin_frames(prepared, together)
                finish.update(zip(together, ends, strict=True))
        results = {}
        for session in samples:
            results[session] = self.keep_classes([finish[session]()])[0]
            session.num_frames += 1
        return results

    def _prepare(self, frames: Mapping[TrackingSession, Any]) -> dict:
        """Make model inputs of the next frames of sessions, in their order."""
        samples = {}
        for place, (session, frame) in enumerate(frames.items(), start=1):
            try:
                image = to_bgr(frame, self._rgb)
            except ValueError as error:
                if len(frames) == 1:
                    raise
                text = str(error).removeprefix('frame: ')
                raise ValueError(f'frame {place} of {len(frames)}: {text}') from None
            samples[session] = self.preprocessor(image, session.num_frames, 'frames')
        return samples

    def session(self) -> TrackingSession:
        """Return a session for another video on the same model; it loads nothing.

        It has the same settings, those that the tracker has now, and nothing tracked
        yet. Its gallery begins as a copy of the tracker's, which is not saved.

        Raises:
            ValueError: If the model keeps something that cannot be copied.
        """
        with self._lock:
            state, gallery = self.new_state()
        if gallery is not None:
            gallery.path = None
        return TrackingSession(self, state, gallery)

    def keep_classes(self, found: list[Tracks]) -> list[Tracks]:
        """Leave out tracks of classes that are not returned."""
        if self._kept is None:
            return found
        return [tracks.select(np.isin(tracks.label, self._kept)) for tracks in found]

    def kept_as_setting(self) -> list[str] | list[int]:
        """Name the classes that are returned for :meth:`settings`.

        Returns:
            Their names. Where classes have none, their numbers; nothing if all are
            returned.
        """
        if self.classes or self._kept is None:
            return list(self.kept_classes)
        return self._kept.tolist()

    @abstractmethod
    def new_state(self) -> tuple[Any, IdentityGallery | None]:
        """Make the state of another video, and the gallery in it."""

    @abstractmethod
    def predict_video(
        self, samples: list, first_frame: int, session: TrackingSession
    ) -> list[Tracks]:
        """Track the next frames of a session's video, of all classes.

        Args:
            samples: See :meth:`TrackingSession.predict_prepared`.
            first_frame: See there.
            session: The session.
        """

    def begin_frames(
        self, samples: list, sessions: list[TrackingSession]
    ) -> list[Callable[[], Tracks]]:
        """Detect in the next frames of several videos.

        Args:
            samples: Outputs of :attr:`preprocessor`, of one size.
            sessions: The session of each.

        Returns:
            For each what associates it, and returns its tracks of all classes. Nothing
            of a video has changed before that is called.

        Raises:
            ValueError: If a box is not finite.
        """

        def track(sample: Any, session: TrackingSession) -> Tracks:
            return self.predict_video([sample], session.num_frames + 1, session)[0]

        return [partial(track, *pair) for pair in zip(samples, sessions, strict=True)]

    @abstractmethod
    def size_of(self, sample: Any) -> Hashable:
        """Say the size of a prepared frame: equal ones are detected in together."""

    def most_together(self, sample: Any) -> int:
        """Say how many frames of several videos are given to the model at a time."""
        return self.batch_size or MOST_TOGETHER

    def choose_batch(self, sample: Any) -> int:
        """Say how many frames like a prepared one are given to the model at a time."""
        return self.batch_size or 1

    def describe_gallery(self) -> list[str]:
        """Say on one line who is remembered, or nothing without a gallery."""
        if self.gallery is None:
            return []
        file = f' {self.gallery.path}' if self.gallery.path else ''
        return [
            f'gallery{file}: {len(self.gallery)} identities, recognised from a '
            f'similarity of {self.gallery.threshold:g} on'
        ]

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Say what decides about tracks, by name; JSON can write it.

        Where it computes and how many frames at a time are not in it: they may change
        the last digits of boxes.
        """

    @abstractmethod
    def describe(self) -> list[str]:
        """Say on a few lines what tracks, by which thresholds, with which weights."""


def refuse_infinite(*arrays: np.ndarray) -> None:
    """Refuse what a detector says of a frame where it is not finite.

    Raises:
        ValueError: If a number is not.
    """
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError('boxes or scores of the detector are not finite')


def _find_label(wanted: str | int, classes: Sequence[str]) -> int | None:
    """Find a class by its name, in any case, or by its number."""
    name = str(wanted).strip()
    if name in classes:
        return classes.index(name)
    if name.isdecimal() and (not classes or int(name) < len(classes)):
        return int(name)
    alike = [i for i, known in enumerate(classes) if known.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None


def _offer(wanted: str | int, classes: Sequence[str]) -> str:
    """Name classes that may be meant."""
    if len(classes) <= _LISTED:
        listed = ', '.join(classes) or 'the numbers of the classes'
        return f'expected some of {listed}'
    name = str(wanted).strip().lower()
    close = [_SAME[name]] if _SAME.get(name) in classes else []
    close = close or [known for known in classes if name in known.lower().split()]
    close = close or difflib.get_close_matches(name, classes, 3)
    if not close:
        return f'expected some of {", ".join(classes)}'
    quoted = [f'"{known}"' if ' ' in known else known for known in close]
    return (
        f'did you mean {" or ".join(quoted)}? There are {len(classes)} classes, such '
        f'as {", ".join(classes[:3])}'
    )
