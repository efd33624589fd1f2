# Copyright (c) mmfdta authors.
"""Track with an exported model: NumPy and onnxruntime, without PyTorch."""

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmfdta.models.trackers.gallery import (
    IdentityGallery,
    embeddings_of_tracks,
    rows_of_tracks,
)
from mmfdta.models.trackers.kinds import KINDS, kind_of
from mmfdta.runtime.association import AssociationScorer
from mmfdta.runtime.detection import (
    Detections,
    check_nms,
    query_detections,
    yolox_detections,
)
from mmfdta.runtime.exported_model import FACTS_FILE, ExportedModel
from mmfdta.runtime.frame_input import PreparedFrame
from mmfdta.runtime.sessions import describe_session, open_session, run_session
from mmfdta.runtime.trackers import ArrayTracker, build_tracker
from mmfdta.structures.track_embeddings import EmbeddedTracks
from mmfdta.structures.tracks import Tracks
from mmfdta.structures.whole_files import hash_file

from .thresholds import describe_thresholds, threshold_options
from .tracking_session import TrackingSession
from .video_tracker import VideoTracker, refuse_infinite


class ExportedTracker(VideoTracker):
    """A model that ``mmfdta export`` made, ready for frames.

    It tracks as :class:`MOTInferencer` does with the config and weights that were
    exported, and has the same methods. It loads neither PyTorch nor MMDetection.

    Example:
        >>> tracker = ExportedTracker('fdta-exported')
        >>> report = tracker('dance.mp4', out=['tracks.mp4', 'tracks.txt'])
        >>> camera = tracker.session()  # another video on the same graphs
        >>> for frame in camera.track('rtsp://camera/1'):
        ...     print(frame.index, frame.tracks.identity, frame.tracks.xyxy)

    Args:
        folder: What ``mmfdta export`` wrote; it may have been moved.
        provider: Where it computes: ``'cpu'``, ``'cuda'``, ``'tensorrt'`` or
            ``'openvino'``, see :data:`mmfdta.runtime.sessions.PROVIDERS`.
        threads: Threads of an operator on a CPU; None takes one for each core.
        channel_order: ``'bgr'`` (OpenCV's) or ``'rgb'``: the order of the frames given
            to :meth:`step`.
        classes: Return only tracks of these classes, by name, in any case, or number;
            None returns all.
        batch_size: Frames of a video that the detector takes at a time; None takes one.
            Live sources are taken one by one.
        thresholds: What the tracker decides by, under names that hold for all trackers:
            see :data:`mmfdta.apis.thresholds.MEANINGS`.
        gallery: Identities are taken up again when they return, within a video and in
            the next ones: an :class:`~mmfdta.models.trackers.IdentityGallery`, or the
            name of its file ``*.npz``, which is made if it is not there and written
            when a video of :meth:`track` is over. It takes a model with association.
        keep_embeddings: Tracks are
            :class:`~mmfdta.structures.track_embeddings.EmbeddedTracks`, and
            :meth:`track` writes ``NAME.npz``. It takes a model with association.

    Attributes:
        model: What the folder's ``model.json`` says.
        state: Tracker of its own video.
        classes: Names of the model's classes, where known.
        kept_classes: Names of those that are returned.
        preprocessor: Makes model inputs of frames.

    Raises:
        FileNotFoundError: If there is no such folder, or a file of it is missing.
        ValueError: If a file of it is not what was exported, or an argument is wrong.
        RuntimeError: If onnxruntime cannot compute there, or not these graphs.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        provider: str = 'cpu',
        threads: int | None = None,
        channel_order: str = 'bgr',
        classes: Sequence[str | int] | None = None,
        batch_size: int | None = None,
        thresholds: Mapping[str, float] | None = None,
        gallery: IdentityGallery | str | os.PathLike | None = None,
        keep_embeddings: bool = False,
    ) -> None:
        super().__init__(channel_order, batch_size)
        self.model = model = ExportedModel.load(folder)
        self.name_classes(model.classes, model.column_numbers, classes)
        self.preprocessor = model.input
        self._settings = model.config_model
        if thresholds:
            options = threshold_options(self._settings, thresholds)
            self._settings = _changed(dict(model=self._settings), options)['model']
        _check_window(model, self._settings['tracker'])
        _check_choice(model)
        key = model.detector.key
        self._detector = open_session(model.detector_path, provider, threads, key)
        self._association = None
        if model.association_path is not None:
            # It is small, and TensorRT would plan it again for every number of objects.
            beside = 'cuda' if provider == 'tensorrt' else provider
            self._association = AssociationScorer(
                open_session(model.association_path, beside, threads)
            )
        self.state = self._new_tracker()
        self.keep_embeddings = keep_embeddings
        if model.association is None and (gallery is not None or keep_embeddings):
            option = 'keep_embeddings' if gallery is None else 'gallery'
            raise ValueError(
                f'{option}: {model.folder} gives no embeddings, which identities '
                'are known by; export FDTA, or track with the config itself'
            )
        if gallery is not None:
            weights = model.checkpoint
            self.open_gallery(gallery, weights.sha256 if weights else None)

    def _new_tracker(self) -> ArrayTracker:
        return build_tracker(self._settings['tracker'], self._association)

    def new_state(self) -> tuple[ArrayTracker, IdentityGallery | None]:
        """Make the state of another video, and a copy of the gallery."""
        return self._new_tracker(), copy.deepcopy(self.gallery)

    def size_of(self, sample: PreparedFrame) -> tuple[int, ...]:
        """Say the size of a prepared frame: equal ones are detected in together."""
        return sample.pixels.shape

    def inputs(self, samples: list[PreparedFrame]) -> dict[str, np.ndarray]:
        """Make the inputs of the detector's graph, by name.

        Args:
            samples: Prepared frames of one size.
        """
        inputs = dict(frames=np.stack([sample.pixels for sample in samples]))
        if 'sizes' in [item.name for item in self._detector.get_inputs()]:
            inputs['sizes'] = np.array([sample.shape for sample in samples], np.int64)
        return inputs

    def detect(self, samples: list[PreparedFrame]) -> list[Detections]:
        """Run the detector.

        Args:
            samples: Prepared frames of one size.

        Returns:
            What was found in each, in pixels of the frames as they were read.

        Raises:
            RuntimeError: If the graph cannot be computed, such as for lack of memory.
        """
        outputs = run_session(self._detector, self.inputs(samples))
        originals = [sample.original for sample in samples]
        if self.model.detector.kind == 'queries':
            return query_detections(outputs, originals)
        shapes = [sample.shape for sample in samples]
        test_cfg = self._settings['detector']['test_cfg']
        return yolox_detections(outputs, shapes, originals, test_cfg)

    def associate(
        self, found: Detections, number: int, session: TrackingSession | None = None
    ) -> Tracks:
        """Give the detections of the next frame of the video their identities.

        Args:
            found: As :meth:`detect` returns them.
            number: Of the frame, from 1, which forgets the video before.
            session: Whose video it is; None is the tracker's own.

        Returns:
            The tracks of all classes, in pixels of the frame as it was read.

        Raises:
            ValueError: If a box or a score is not finite.
        """
        session = self if session is None else session
        bboxes, scores, labels, identities = session.state.track(
            number - 1,
            found.bboxes,
            found.scores,
            found.labels,
            areas=found.areas,
            embeddings=found.embeddings,
        )
        gallery, embeddings = session.gallery, None
        wanted = gallery is not None or self.keep_embeddings
        if wanted and found.embeddings is not None:
            rows = rows_of_tracks(bboxes, labels, found.bboxes, found.labels)
            embeddings = embeddings_of_tracks(found.embeddings, rows)
        if gallery is not None and embeddings is not None:
            with self._lock:  # a session may be copying it
                if number == 1:
                    gallery.start_video()
                identities = gallery.update(
                    identities, bboxes, scores, labels, embeddings
                )
        xywh = bboxes.astype(np.float64).reshape(-1, 4)
        xywh[:, 2:] -= xywh[:, :2]
        frame = np.full(len(xywh), number)
        tracks = Tracks.create(frame, identities, xywh, scores, labels)
        if self.keep_embeddings and embeddings is not None:
            return EmbeddedTracks.of(tracks, embeddings)
        return tracks

    def predict_video(
        self, samples: list[PreparedFrame], first_frame: int, session: TrackingSession
    ) -> list[Tracks]:
        """Track the next frames of a session's video, see :class:`VideoTracker`."""
        return [
            self.associate(found, number, session)
            for number, found in enumerate(self.detect(samples), start=first_frame)
        ]

    def begin_frames(
        self, samples: list[PreparedFrame], sessions: list[TrackingSession]
    ) -> list[Callable[[], Tracks]]:
        """Detect in the next frames of several videos, see :class:`VideoTracker`."""
        detections = self.detect(samples)
        for found in detections:
            refuse_infinite(found.bboxes, found.scores)
        return [
            partial(self.associate, found, session.num_frames + 1, session)
            for found, session in zip(detections, sessions, strict=True)
        ]

    def settings(self) -> dict[str, Any]:
        """Say what decides about tracks, by name; JSON can write it."""
        return dict(
            model=hash_file((self.model.folder or Path()) / FACTS_FILE)[:16],
            tracker=dict(self._settings['tracker']),
            classes=self.kept_as_setting(),
        )

    def describe(self) -> list[str]:
        """Say what tracks, by which thresholds, and what computes it."""
        model = self.model
        name = self._settings['tracker']['type']
        return [
            f'{name} on {model.config}{describe_thresholds(self._settings)}',
            f'exported model {model.folder} ({model.precision}), '
            f'{describe_session(self._detector)}',
            *self.describe_gallery(),
        ]


def _check_window(model: ExportedModel, tracker: Mapping[str, Any]) -> None:
    """Refuse a history that the exported association does not know."""
    if model.association is None:
        return
    window, tolerance = model.association.window, tracker['miss_tolerance']
    if tolerance > window:
        margin = KINDS[kind_of(tracker)].gap_margin
        raise ValueError(
            f'--max-gap: found {tolerance - margin} (tracker.miss_tolerance '
            f'{tolerance}), but the exported association has a window of {window} '
            f'frames; expected at most {window - margin}'
        )


def _check_choice(model: ExportedModel) -> None:
    """Refuse settings of YOLOX by which boxes cannot be chosen here."""
    if model.detector.kind != 'yolox':
        return
    settings, place = model.detector.test_cfg, f'{model.folder}: detector.test_cfg'
    threshold = settings.get('score_thr')
    if not isinstance(threshold, int | float):
        raise ValueError(f'{place}.score_thr: found {threshold!r}, expected a number')
    check_nms(settings.get('nms'), f'{place}.nms')


def _changed(settings: Mapping, options: Mapping[str, Any]) -> dict[str, Any]:
    """Copy settings with some changed, whose names have dots."""
    changed = copy.deepcopy(dict(settings))
    for key, value in options.items():
        *path, last = key.split('.')
        place = changed
        for part in path:
            place = place[part]
        place[last] = value
    return changed
