# Copyright (c) mmfdta authors.
"""Track objects in videos, folders of frames, cameras and streams."""

import difflib
import os
from collections.abc import Generator, Mapping, Sequence
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
from .counting import ObjectCounter
from .frame_inputs import to_bgr
from .frame_preprocessing import FramePreprocessor, collate_frames
from .model_loading import load_tracker
from .presets import choose_config
from .result_names import refuse_replacing
from .sources import SourceOptions, open_source
from .thresholds import threshold_options
from .track_outputs import (
    VideoFacts,
    VideoOptions,
    keep_audio,
    plan_counts,
    plan_outputs,
)
from .tracked_frame import TrackedFrame
from .tracking_run import TrackingReport, TrackingRun
from .weights import find_checkpoint
from .window import Window

DEFAULT_FRAME_RATE = 25.0
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


class MOTInferencer:
    """Any registered tracker, ready for frames.

    It takes what it needs to know from the config, resizes frames itself and
    needs no data set. It tracks one video at a time.

    Example:
        >>> inferencer = MOTInferencer()  # ByteTrack on YOLOX-tiny, 80 classes of COCO
        >>> inferencer = MOTInferencer('fdta_dancetrack', 'dancetrack')
        >>> report = inferencer('dance.mp4', out=['tracks.mp4', 'tracks.txt'])
        >>> for frame in inferencer.track('rtsp://camera/1'):
        ...     print(frame.index, frame.tracks.identity, frame.tracks.xyxy)

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

    Attributes:
        config: The config with all settings.
        checkpoint: The file of the weights, None for random ones.
        model: The tracker.
        classes: Names of the model's classes, where known.
        kept_classes: Names of those that are returned.
        preprocessor: Makes model inputs of frames.

    Raises:
        ValueError: If there is no checkpoint, or an argument is wrong.
        FileNotFoundError: If the config or checkpoint is not there.
    """

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
    ) -> None:
        if channel_order not in ('bgr', 'rgb'):
            raise ValueError(
                f"channel_order: found {channel_order!r}, expected 'bgr' or 'rgb'"
            )
        if batch_size is not None and batch_size < 1:
            raise ValueError(f'batch_size: found {batch_size}, expected at least 1')
        chosen = choose_config(checkpoint) if config is None else config
        self.config = read_config(chosen, cfg_options)
        if thresholds:
            options = threshold_options(self.config.model, thresholds)
            self.config.merge_from_dict(options)
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
        self.classes = tuple(self.model.dataset_meta.get('classes') or ())
        self.batch_size = batch_size
        on_gpu = next(self.model.parameters()).device.type == 'cuda'
        self.preprocessor = FramePreprocessor(self.config, on_gpu, input_size)
        self._rgb = channel_order == 'rgb'
        self._kept = None if classes is None else self._find_labels(classes)
        self.kept_classes = self.classes
        if self._kept is not None and self.classes:
            self.kept_classes = tuple(self.classes[i] for i in self._kept)
        self._next_frame = 0

    def _find_labels(self, classes: Sequence[str | int]) -> np.ndarray:
        """Turn names or numbers of classes into labels."""
        labels: list[int] = []
        for wanted in [classes] if isinstance(classes, str | int) else classes:
            label = _find_label(wanted, self.classes)
            if label is None and ',' in str(wanted):
                parts = [part for part in str(wanted).split(',') if part.strip()]
                labels += self._find_labels(parts).tolist()
            elif label is None:
                raise ValueError(
                    f'classes: found {wanted!r}, {_offer(wanted, self.classes)}'
                )
            else:
                labels.append(label)
        return np.array(list(dict.fromkeys(labels)), dtype=np.int64)

    def reset(self) -> None:
        """Start a new video: the next frame given to :meth:`step` is its first."""
        self._next_frame = 0

    def step(self, frame: Any) -> Tracks:
        """Track the next frame of a video.

        Args:
            frame: A NumPy array uint8 (H, W, 3), also grey (H, W) or with transparency
                (H, W, 4), or a tensor (3, H, W) of uint8 or of floats in 0..1, both
                with channels in ``channel_order``; or an image of Pillow. See
                :func:`mmfdta.apis.frame_inputs.to_bgr`.

        Returns:
            What is tracked in it, possibly nothing; boxes in pixels of the frame,
            which they may leave. Frames count from 1 since the last reset.

        Raises:
            ValueError: If it is no such frame.
        """
        image = to_bgr(frame, self._rgb)
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
        counter: ObjectCounter | None = None,
        counts: str | os.PathLike | None = None,
        show: bool = False,
        audio: bool = False,
        crf: int | None = None,
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
                MOTChallenge text (txt), JSON, JSON lines (jsonl), CSV.
            style: How tracks are drawn.
            caption: Draw the frame's number, its tracks and the speed.
            frame_rate: Frames per second of the written video, and of images; None
                keeps the source's time stamps, or takes its rate, or 25 if it says
                nothing.
            max_frames: Stop after so many frames.
            progress: Show a progress bar.
            source_options: How the source is read.
            counter: Counts objects at lines and in zones, from zero; see
                :attr:`TrackedFrame.counts`. What it counts is drawn.
            counts: CSV file to write what it counts to.
            show: Show the frames in a window, where q or Esc ends the tracking as the
                end of the video does.
            audio: Keep the source's audio in written videos; not with ``frame_rate``.
            crf: Constant rate factor of written videos, see
                :class:`~mmfdta.visualization.VideoWriter`; less is better and larger.

        Yields:
            Each frame with its tracks.

        Returns:
            How it went; the value of the generator.

        Raises:
            FileNotFoundError: If there is no such source.
            OSError: If it cannot be read, or a file cannot be written.
            ValueError: If an argument is wrong, or a file is the source.
            RuntimeError: If no window can be opened.
        """
        if max_frames is not None and max_frames < 1:
            raise ValueError(f'max_frames: found {max_frames}, expected at least 1')
        if frame_rate is not None and not 0 < frame_rate < float('inf'):
            raise ValueError(f'frame_rate: found {frame_rate}, expected more than 0')
        if audio and frame_rate is not None:
            raise ValueError(
                'audio: frame_rate (--fps) changes how fast the video is; leave one out'
            )
        if out is not None:
            files = [out] if isinstance(out, str | os.PathLike) else out
            refuse_replacing([str(source)], files)
        window = Window('mmfdta track') if show else None
        reading = source_options or SourceOptions()
        frames = open_source(
            source, replace(reading, frame_rate=reading.frame_rate or frame_rate)
        )
        rate = float(frame_rate or frames.frame_rate or DEFAULT_FRAME_RATE)
        numbers = column_numbers(self.model.dataset_meta)
        facts = VideoFacts(
            frames.name,
            rate,
            self.classes,
            numbers,
            frames.time_base,
            frames.pixel_aspect,
        )
        video = VideoOptions(crf=crf, even=frame_rate is not None)
        if audio:
            video = keep_audio(video, frames)
        try:
            style = style or TrackStyle()
            outputs = plan_outputs(out, facts, style, caption, video)
            outputs += plan_counts(counts, facts, counter, outputs)
            if counter is not None:
                counter.reset()
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
                counter=counter,
                window=window,
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


def _find_label(wanted: str | int, classes: Sequence[str]) -> int | None:
    """Find a class by its name, in any case, or by its number."""
    name = str(wanted).strip()
    if name in classes:
        return classes.index(name)
    if name.isdecimal() and int(name) < len(classes or name):
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
