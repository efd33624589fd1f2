# Copyright (c) mmfdta authors.
"""Track objects in videos, folders of frames, cameras and streams."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor

from mmfdta.engine.frame_batches import (
    MOST_FRAMES,
    frames_at_a_time,
    frames_of,
    pixels_of,
)
from mmfdta.engine.precision import precision_of
from mmfdta.models import MOTR, BoxFDTA
from mmfdta.models.detectors import text_detector
from mmfdta.models.mot import model_for_video
from mmfdta.models.trackers import GalleryTracker, IdentityGallery
from mmfdta.models.trackers.gallery import LEARNED_THRESHOLD, POOLED_THRESHOLD
from mmfdta.structures.classes import column_numbers
from mmfdta.structures.track_embeddings import EmbeddedTracks
from mmfdta.structures.tracks import Tracks, as_array
from mmfdta.structures.whole_files import hash_file

from .config import read_config
from .detection_store import detects_apart
from .fingerprints import digest, settings_of
from .frame_preprocessing import FramePreprocessor, collate_frames
from .kept_embeddings import add_embeddings
from .kept_embeddings import keep_embeddings as keep_embeddings_of
from .model_loading import load_tracker, part_checkpoints
from .presets import choose_config
from .thresholds import describe_thresholds, threshold_options
from .tracking_session import TrackingSession
from .video_tracker import VideoTracker, refuse_infinite
from .weights import find_checkpoint


class MOTInferencer(VideoTracker):
    """Any registered tracker, ready for frames.

    It takes what it needs to know from the config, resizes frames itself and
    needs no data set. It tracks one video at a time; :meth:`session` tracks another one
    on the same model.

    Example:
        >>> inferencer = MOTInferencer()  # ByteTrack on YOLOX-tiny, 80 classes of COCO
        >>> inferencer = MOTInferencer('fdta_dancetrack', 'dancetrack')
        >>> report = inferencer('dance.mp4', out=['tracks.mp4', 'tracks.txt'])
        >>> for frame in inferencer.track('rtsp://camera/1'):
        ...     print(frame.index, frame.tracks.identity, frame.tracks.xyxy)
        >>> hall, yard = inferencer.session(), inferencer.session()
        >>> tracks = inferencer.step({hall: image, yard: other})

    Args:
        config: Path of a config, the name of one of
            this project, or the config itself; MMDetection's trackers work too. None
            takes that of published weights if ``checkpoint`` names some, else
            ``bytetrack_yolox-tiny_coco``.
        checkpoint: Weights: path, address, or a name that ``mmfdta weights`` lists.
            None takes those that the config names.
        device: None takes the first GPU if there is one.
        channel_order: ``'bgr'`` (OpenCV's, MMDetection's) or ``'rgb'``: the order
            of the frames given to :meth:`step`.
        classes: Return only tracks of these classes, by name, in any case, or number;
            None returns all.
        batch_size: Frames of a video that the detector takes at a time, where the
            tracker can; None takes what :func:`frames_at_a_time` says. Live sources
            are taken one by one.
        precision: ``'fp32'``, ``'tf32'``, ``'fp16'`` or ``'bf16'``; None takes the
            config's, or ``'fp32'``, which computes without TF32. PyTorch's own
            switches of TF32 are set while the model runs, and then as they were.
        compile: Let PyTorch compile the detector's networks. The first frame of a size
            takes a minute or more.
        allow_random_weights: Allow to have no checkpoint.
        cfg_options: Settings of the config to change.
        thresholds: What the tracker decides by, under names that hold for all trackers:
            see :data:`mmfdta.apis.thresholds.MEANINGS`.
        input_size: Long side in pixels to which frames are resized for the model; None
            takes what the config says.
        gallery: Identities are taken up again when they return, within a video and in
            the next ones: an :class:`~mmfdta.models.trackers.IdentityGallery`, or the
            name of its file ``*.npz``, which is made if it is not there and written
            when a video of :meth:`track` is over. YOLOX, which has no embeddings, gets
            those of :class:`~mmfdta.models.PooledEmbeddings`.
        keep_embeddings: Tracks are
            :class:`~mmfdta.structures.track_embeddings.EmbeddedTracks`, and
            :meth:`track` writes ``NAME.npz``. YOLOX's are pooled.

    Attributes:
        config: The config with all settings.
        checkpoint: The file of the weights, None for random ones.
        model: The tracker. What it keeps of a video is that of the inferencer's own;
            sessions have copies of it, and share the networks.
        classes: Names of the model's classes, where known.
        kept_classes: Names of those that are returned.
        preprocessor: Makes model inputs of frames.

    Raises:
        ValueError: If there is no checkpoint, or an argument is wrong.
        FileNotFoundError: If the config or checkpoint is not there.
    """

    largest_batch = MOST_FRAMES

    def __init__(
        self,
        config: str | os.PathLike | Config | None = None,
        checkpoint: str | os.PathLike | None = None,
        device: str | torch.device | None = None,
        *,
        channel_order: str = 'bgr',
        classes: Sequence[str | int] | None = None,
        batch_size: int | None = None,
        precision: str | None = None,
        compile: bool = False,
        allow_random_weights: bool = False,
        cfg_options: dict | None = None,
        thresholds: Mapping[str, float] | None = None,
        input_size: int | None = None,
        gallery: IdentityGallery | str | os.PathLike | None = None,
        keep_embeddings: bool = False,
    ) -> None:
        super().__init__(channel_order, batch_size)
        chosen = choose_config(checkpoint) if config is None else config
        self.config = read_config(chosen, cfg_options)
        if text_detector(self.config.model) is not None:
            raise ValueError(
                'model.detector.type: found TextDetections, which reads the detections '
                'of a data set from text, and a video has none; track the data set '
                'with mmfdta test, or take a config with a detector that looks at '
                'images, such as boxes_fdta-det_mini'
            )
        if thresholds:
            options = threshold_options(self.config.model, thresholds)
            self.config.merge_from_dict(options)
        self.keep_embeddings = keep_embeddings
        if keep_embeddings:
            keep_embeddings_of(self.config.model)
        elif gallery is not None:
            add_embeddings(self.config.model)
        if precision is not None:
            self.config.precision = precision
        if compile:
            self.config.compile_detector = True
        self.checkpoint = None
        if checkpoint or (self.config.get('checkpoint') and not allow_random_weights):
            self.checkpoint = find_checkpoint(checkpoint, self.config)
        self.model = load_tracker(
            self.config, self.checkpoint, device, allow_random_weights
        )
        on_gpu = next(self.model.parameters()).device.type == 'cuda'
        preprocessor = FramePreprocessor(self.config, on_gpu, input_size)
        self.preprocessor, self._steps = preprocessor, preprocessor.steps
        meta = self.model.dataset_meta
        self.name_classes(meta.get('classes') or (), column_numbers(meta), classes)
        if gallery is not None:
            self._put_around_tracker(gallery)
        self.state = self.model

    def _put_around_tracker(self, gallery: IdentityGallery | str | os.PathLike) -> None:
        """Let the model's tracker ask a gallery."""
        tracker = getattr(self.model, 'tracker', None)
        if tracker is None:
            raise ValueError(
                f'gallery: {type(self.model).__name__} has no tracker, expected a '
                'model with model.tracker'
            )
        if isinstance(self.model, BoxFDTA):
            raise ValueError(
                'gallery: found BoxFDTA, whose tracker gets boxes and no embeddings; '
                'take FDTA, or a TrackingByDetection with model.embeddings'
            )
        pooled = getattr(self.model, 'embeddings', None) is not None
        opened = self.open_gallery(
            gallery,
            self._name_embeddings(),
            POOLED_THRESHOLD if pooled else LEARNED_THRESHOLD,
        )
        self.model.tracker = GalleryTracker.around(
            tracker, opened, self.keep_embeddings
        )

    def _hash_weights(self) -> tuple[str | None, dict[str, str]]:
        """Hash the checkpoint, and those of the parts that have one of their own."""
        parts = {
            name: hash_file(find_checkpoint(file))
            for name, file in part_checkpoints(self.config).items()
        }
        return None if self.checkpoint is None else hash_file(self.checkpoint), parts

    def _name_embeddings(self) -> str | None:
        """Name the weights that make embeddings, and how they do where it is said."""
        weights, parts = self._hash_weights()
        embeddings = getattr(self.model, 'embeddings', None)
        if embeddings is None and not parts:
            return weights  # as an exported model names them
        return digest(weights, parts, embeddings and settings_of(embeddings))

    def choose_batch(self, sample: dict) -> int:
        """Say how many frames like a prepared one are given at a time."""
        return self.batch_size or frames_at_a_time(self.model, pixels_of(sample))

    def most_together(self, sample: dict) -> int:
        """Say how many frames of several videos are given to the model at a time."""
        on_gpu = next(self.model.parameters()).device.type == 'cuda'
        return self.choose_batch(sample) if on_gpu else super().most_together(sample)

    def size_of(self, sample: dict) -> tuple[tuple[int, ...], ...]:
        """Say the size of a prepared frame: equal ones are detected in together."""
        inputs = sample['inputs']
        parts = inputs.values() if isinstance(inputs, Mapping) else [inputs]
        return tuple(tuple(part.shape) for part in parts)

    def new_state(self) -> tuple[Any, IdentityGallery | None]:
        """Make the state of another video, and the gallery in it."""
        model = model_for_video(self.model)
        return model, None if self.gallery is None else model.tracker.gallery

    @torch.no_grad()
    def begin_frames(
        self, samples: list[dict], sessions: list[TrackingSession]
    ) -> list[Callable[[], Tracks]]:
        """Detect in the next frames of several videos, see :class:`VideoTracker`."""
        if not (isinstance(self.model, MOTR) or detects_apart(self.model)):
            return super().begin_frames(samples, sessions)
        with self._lock, self._in_precision():
            batch = self.model.data_preprocessor(collate_frames(samples), False)
            imgs, frames = frames_of(batch)
            finish = self._detect(imgs, frames, [session.state for session in sessions])
        for frame in frames:
            found = frame.pred_instances
            refuse_infinite(found.bboxes.numpy(), found.scores.numpy())
        return [
            partial(self._finish, end, session.num_frames + 1)
            for end, session in zip(finish, sessions, strict=True)
        ]

    def _detect(
        self, imgs: Tensor, frames: list[DetDataSample], models: list[Any]
    ) -> list[Callable[[], DetDataSample]]:
        """Detect in frames of several videos; return what associates each."""
        if isinstance(self.model, MOTR):
            encoded = self.model.detector.encode(imgs, frames).split()
            trios = zip(models, encoded, frames, strict=True)
            return [model.ask(one, frame) for model, one, frame in trios]
        self.model.detect(imgs, frames)
        pairs = zip(models, frames, strict=True)
        return [partial(model.associate, frame) for model, frame in pairs]

    @torch.no_grad()
    def _finish(self, associate: Callable[[], DetDataSample], number: int) -> Tracks:
        """Associate a frame, with the precision that the model's forward pass sets."""
        with self._lock, self._in_precision():
            frame = associate()
        return self._tracks_of(frame.pred_track_instances, number)

    def _tracks_of(self, found: InstanceData, number: int) -> Tracks:
        """Take the tracks of a frame, with their embeddings if they are kept."""
        tracks = Tracks.from_instances(found, number)
        if not self.keep_embeddings:
            return tracks
        return EmbeddedTracks.of(tracks, as_array(found.embeddings))

    def _in_precision(self) -> AbstractContextManager[None]:
        device = next(self.model.parameters()).device
        return precision_of(self.model).on(device.type)

    @torch.no_grad()
    def predict_video(
        self, samples: list[dict], first_frame: int, session: TrackingSession
    ) -> list[Tracks]:
        """Track the next frames of a session's video, see :class:`VideoTracker`."""
        with self._lock:
            clip = session.state.test_step(collate_frames(samples))[0]
        if any('pred_track_instances' not in frame for frame in clip):
            raise ValueError(
                f'model.type: {type(self.model).__name__} gives no '
                'pred_track_instances; expected a tracker, not a detector'
            )
        return [
            self._tracks_of(frame.pred_track_instances, number)
            for number, frame in enumerate(clip, start=first_frame)
        ]

    def settings(self) -> dict[str, Any]:
        """Say what decides about tracks, by name; JSON can write it."""
        weights, parts = self._hash_weights()
        return dict(
            config=Path(self.config.filename or 'in memory').stem,
            model=digest(self.config.model.to_dict()),
            input=digest(self._steps),
            weights=weights and weights[:16],
            parts=digest(parts) if parts else None,
            precision=self.config.get('precision') or 'fp32',
            classes=self.kept_as_setting(),
        )

    def describe(self) -> list[str]:
        """Say what tracks, by which thresholds, with which weights and where."""
        parts = [type(self.model).__name__]
        if hasattr(self.model, 'detector') and hasattr(self.model, 'tracker'):
            tracker = self.model.tracker
            if isinstance(tracker, GalleryTracker):
                tracker = tracker.tracker
            parts = [type(part).__name__ for part in (tracker, self.model.detector)]
        device = next(self.model.parameters()).device
        return [
            f'{" on ".join(parts)}{describe_thresholds(self.config.model)}',
            f'weights {self.checkpoint or "at random"}, on {device}',
            *self.describe_gallery(),
        ]
