# Copyright (c) mmfdta authors.
"""Track objects in videos, folders of frames, cameras and streams."""

import os
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from mmfdta.engine.frame_batches import frames_at_a_time, pixels_of
from mmfdta.structures.classes import column_numbers
from mmfdta.structures.tracks import Tracks
from mmfdta.visualization import TrackStyle

from .config import read_config
from .frame_preprocessing import FramePreprocessor, collate_frames
from .model_loading import load_tracker
from .sources import SourceOptions, open_source
from .track_outputs import VideoFacts, plan_outputs
from .tracked_frame import TrackedFrame
from .tracking_run import TrackingReport, TrackingRun

DEFAULT_FRAME_RATE = 25.0


class MOTInferencer:
    """Any registered tracker, ready for frames.

    It takes what it needs to know from the config, resizes frames itself and
    needs no data set. It tracks one video at a time.

    Example:
        >>> inferencer = MOTInferencer('fdta_dancetrack', 'fdta.pth')
        >>> report = inferencer('dance.mp4', out=['tracks.mp4', 'tracks.txt'])
        >>> for frame in inferencer.track('rtsp://camera/1'):
        ...     print(frame.index, frame.tracks.identity, frame.tracks.xyxy)

    Args:
        config: Path of a config, the name of one of
            this project, or the config itself; MMDetection's trackers work too.
        checkpoint: Weights, path or address.
        device: None takes the first GPU if there is one.
        channel_order: ``'bgr'`` (OpenCV's, MMDetection's) or ``'rgb'``: the order
            of the frames given to :meth:`step`.
        classes: Return only tracks of these classes, by name or number; None
            returns all.
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

    Attributes:
        model: The tracker.
        classes: Names of the model's classes, where known.
        preprocessor: Makes model inputs of frames.

    Raises:
        ValueError: If there is no checkpoint, or an argument is wrong.
        FileNotFoundError: If the config or checkpoint is not there.
    """

    def __init__(
        self,
        config: str | os.PathLike | Config,
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
    ) -> None:
        if channel_order not in ('bgr', 'rgb'):
            raise ValueError(
                f"channel_order: found {channel_order!r}, expected 'bgr' or 'rgb'"
            )
        if batch_size is not None and batch_size < 1:
            raise ValueError(f'batch_size: found {batch_size}, expected at least 1')
        config = read_config(config, cfg_options)
        if precision is not None:
            config.precision = precision
        if compile:
            config.compile_detector = True
        self.model = load_tracker(config, checkpoint, device, allow_random_weights)
        self.classes = tuple(self.model.dataset_meta.get('classes') or ())
        self.batch_size = batch_size
        on_gpu = next(self.model.parameters()).device.type == 'cuda'
        self.preprocessor = FramePreprocessor(config, pin_memory=on_gpu)
        self._rgb = channel_order == 'rgb'
        self._kept = None if classes is None else self._find_labels(classes)
        self._next_frame = 0

    def _find_labels(self, classes: Sequence[str | int]) -> np.ndarray:
        """Turn names or numbers of classes into labels."""
        labels = []
        for wanted in [classes] if isinstance(classes, str | int) else classes:
            number = str(wanted)
            if wanted in self.classes:
                labels.append(self.classes.index(wanted))
            elif number.isdecimal() and int(number) < len(self.classes or number):
                labels.append(int(number))
            else:
                raise ValueError(
                    f'classes: found {wanted!r}, expected some of '
                    f'{", ".join(self.classes) or "the numbers of the classes"}'
                )
        return np.array(labels)

    def reset(self) -> None:
        """Start a new video: the next frame given to :meth:`step` is its first."""
        self._next_frame = 0

    def step(self, frame: np.ndarray) -> Tracks:
        """Track the next frame of a video.

        Args:
            frame: uint8 (H, W, 3), channels in ``channel_order``.

        Returns:
            What is tracked in it, possibly nothing; boxes in pixels of the frame,
            which they may leave. Frames count from 1 since the last reset.

        Raises:
            ValueError: If it is no such array.
        """
        _check_frame(frame)
        image = np.ascontiguousarray(frame[..., ::-1]) if self._rgb else frame
        sample = self.preprocessor(image, self._next_frame, 'frames')
        self._next_frame += 1
        return self.predict_prepared([sample], self._next_frame)[0]

    def track(
        self,
        source: str | os.PathLike | int,
        out: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
        *,
        style: TrackStyle | None = None,
        caption: bool = True,
        frame_rate: float | None = None,
        max_frames: int | None = None,
        progress: bool = False,
        source_options: SourceOptions | None = None,
    ) -> Generator[TrackedFrame, None, TrackingReport]:
        """Track a video frame by frame.

        Reading and resizing, the model, and drawing and writing run at the same
        time; memory does not grow with the video. Files appear under their names
        when they are complete. When tracking ends early, because the video breaks
        off, something fails or the loop is left, they are finished with what there
        is and named ``NAME.partial.SUFFIX``; a live source may end at any time.

        Args:
            source: See :func:`open_source`.
            out: Files to write: annotated video (mp4, mov, mkv, avi, webm),
                MOTChallenge text (txt), JSON, CSV.
            style: How tracks are drawn.
            caption: Draw the frame's number, its tracks and the speed.
            frame_rate: Frames per second of what is written, and of images; None
                takes the source's, or 25 if it says nothing.
            max_frames: Stop after so many frames.
            progress: Show a progress bar.
            source_options: How the source is read.

        Yields:
            Each frame with its tracks.

        Returns:
            How it went; the value of the generator.

        Raises:
            FileNotFoundError: If there is no such source.
            OSError: If it cannot be read, or a file cannot be written.
        """
        reading = source_options or SourceOptions()
        frames = open_source(
            source, replace(reading, frame_rate=reading.frame_rate or frame_rate)
        )
        rate = float(frame_rate or frames.frame_rate or DEFAULT_FRAME_RATE)
        numbers = column_numbers(self.model.dataset_meta)
        facts = VideoFacts(frames.name, rate, self.classes, numbers)
        try:
            style = style or TrackStyle()
            outputs = plan_outputs(out, facts, style, caption)
            run = TrackingRun(
                frames,
                self.preprocessor,
                self.predict_prepared,
                outputs,
                batch_size=1 if frames.live else self._choose_batch,
                max_frames=max_frames,
                progress=progress,
                classes=self.classes,
                style=style,
            )
            self.reset()
            return (yield from run.frames())
        finally:
            frames.close()
            self.reset()

    def _choose_batch(self, sample: dict) -> int:
        """Say how many frames like a prepared one are given at a time."""
        return self.batch_size or frames_at_a_time(self.model, pixels_of(sample))

    def __call__(
        self, source: str | os.PathLike | int, **options: Any
    ) -> TrackingReport:
        """Track a whole video.

        Args:
            source: See :meth:`track`.
            **options: See :meth:`track`.

        Returns:
            How many frames, how fast, what was written.
        """
        frames = self.track(source, **options)
        try:
            while True:
                next(frames)
        except StopIteration as end:
            return end.value
        finally:
            frames.close()

    @torch.no_grad()
    def predict_prepared(self, samples: list[dict], first_frame: int) -> list[Tracks]:
        """Track prepared frames, the next ones of a video.

        Args:
            samples: Outputs of :class:`FramePreprocessor`, of one size, in order.
            first_frame: Number of the first of them, from 1.

        Returns:
            See :meth:`step`, one for each frame.

        Raises:
            ValueError: If the model does not track, or a box is not finite.
        """
        clip = self.model.test_step(collate_frames(samples))[0]
        if any('pred_track_instances' not in frame for frame in clip):
            raise ValueError(
                f'model.type: {type(self.model).__name__} gives no '
                'pred_track_instances; expected a tracker, not a detector'
            )
        found = [
            Tracks.from_instances(frame.pred_track_instances, number)
            for number, frame in enumerate(clip, start=first_frame)
        ]
        if self._kept is None:
            return found
        return [tracks.select(np.isin(tracks.label, self._kept)) for tracks in found]


def _check_frame(frame: np.ndarray) -> None:
    if not isinstance(frame, np.ndarray):
        raise ValueError(
            f'frame: found {type(frame).__name__}, expected a NumPy array (H, W, 3); '
            'track() takes the path of a video'
        )
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(
            f'frame: found {frame.dtype} {frame.shape}, expected uint8 (H, W, 3)'
        )
    if not frame.size:
        raise ValueError(f'frame: found an empty image {frame.shape}')
