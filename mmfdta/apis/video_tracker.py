# Copyright (c) mmfdta authors.
"""Videos frame by frame, whatever it is that tracks in the frames."""

import difflib
import os
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mmfdta.models.trackers.gallery import LEARNED_THRESHOLD, IdentityGallery
from mmfdta.structures.tracks import Tracks
from mmfdta.visualization import TrackStyle

from .counting import ObjectCounter
from .frame_inputs import to_bgr
from .result_names import refuse_replacing
from .sources import SourceOptions, open_source
from .sources.opening import Source
from .track_outputs import (
    VideoFacts,
    VideoOptions,
    keep_audio,
    plan_counts,
    plan_outputs,
)
from .tracked_frame import TrackedFrame
from .tracking_run import FramePreparer, TrackingReport, TrackingRun
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


class VideoTracker(ABC):
    """Tracks one video at a time; what is common to all models.

    A subclass loads a model, calls :meth:`name_classes`, sets ``preprocessor`` and says
    how prepared frames are tracked.

    Args:
        channel_order: ``'bgr'`` (OpenCV's, MMDetection's) or ``'rgb'``: the order
            of the frames given to :meth:`step`.
        batch_size: Frames of a video that the detector takes at a time; None lets
            :meth:`choose_batch` say it.

    Attributes:
        classes: Names of the model's classes, where known.
        kept_classes: Names of those that are returned.
        preprocessor: Makes model inputs of frames.
        gallery: Who is remembered from video to video; None without a gallery.
        largest_batch: Most frames that :meth:`choose_batch` says.

    Raises:
        ValueError: If an argument is wrong.
    """

    classes: tuple[str, ...]
    kept_classes: tuple[str, ...]
    preprocessor: FramePreparer
    gallery: IdentityGallery | None = None
    largest_batch = 1

    def __init__(self, channel_order: str, batch_size: int | None) -> None:
        if channel_order not in ('bgr', 'rgb'):
            raise ValueError(
                f"channel_order: found {channel_order!r}, expected 'bgr' or 'rgb'"
            )
        if batch_size is not None and batch_size < 1:
            raise ValueError(f'batch_size: found {batch_size}, expected at least 1')
        self.batch_size = batch_size
        self._rgb = channel_order == 'rgb'
        self._next_frame = 0
        # Stands for the video of `track` that the state is of.
        self._video: object | None = None

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
            ValueError: If there is no such class.
        """
        self.classes = self.kept_classes = tuple(classes)
        self._numbers = numbers
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
            ValueError: If it is no such frame, or a box is not finite; the frame then
                does not count.
        """
        image = to_bgr(frame, self._rgb)
        sample = self.preprocessor(image, self._next_frame, 'frames')
        self._video = None
        tracks = self.predict_prepared([sample], self._next_frame + 1)[0]
        self._next_frame += 1
        return tracks

    def track(
        self,
        source: Source,
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
            RuntimeError: If no window can be opened, or another video was begun with
                this tracker before this one has ended.
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
            if isinstance(source, str | os.PathLike | int):
                refuse_replacing([str(source)], files)
            else:
                refuse_replacing([str(path) for path in source], files)
        window = Window('mmfdta track') if show else None
        reading = source_options or SourceOptions()
        frames = open_source(
            source, replace(reading, frame_rate=reading.frame_rate or frame_rate)
        )
        rate = float(frame_rate or frames.frame_rate or DEFAULT_FRAME_RATE)
        facts = VideoFacts(
            frames.name,
            rate,
            self.classes,
            self._numbers,
            frames.time_base,
            frames.pixel_aspect,
        )
        written = VideoOptions(crf=crf, even=frame_rate is not None)
        if audio:
            written = keep_audio(written, frames)
        video = object()

        def predict(samples: list, first_frame: int) -> list[Tracks]:
            if self._video is not video:
                raise RuntimeError(
                    f'{frames.name}: another video was begun with this tracker, which '
                    'tracks one at a time; end this one first, or make a second tracker'
                )
            return self.predict_prepared(samples, first_frame)

        try:
            style = style or TrackStyle()
            outputs = plan_outputs(out, facts, style, caption, written)
            outputs += plan_counts(counts, facts, counter, outputs)
            if counter is not None:
                counter.reset()
            run = TrackingRun(
                frames,
                self.preprocessor,
                predict,
                outputs,
                batch_size=1 if frames.live else self.choose_batch,
                largest_batch=max(self.largest_batch, self.batch_size or 1),
                max_frames=max_frames,
                progress=progress,
                classes=self.classes,
                style=style,
                counter=counter,
                window=window,
            )
            self.reset()
            self._video = video
            return (yield from run.frames())
        finally:
            frames.close()
            # What was begun meanwhile goes on.
            if self._video is video:
                self.reset()
                if self.gallery is not None and self.gallery.path is not None:
                    self.gallery.save(self.gallery.path)

    def __call__(self, source: Source, **options: Any) -> TrackingReport:
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

    def predict_prepared(self, samples: list, first_frame: int) -> list[Tracks]:
        """Track prepared frames, the next ones of a video.

        Args:
            samples: Outputs of :attr:`preprocessor`, of one size, in order.
            first_frame: Number of the first of them, from 1.

        Returns:
            See :meth:`step`, one for each frame.

        Raises:
            ValueError: If the model does not track, or a box is not finite.
        """
        found = self._predict(samples, first_frame)
        if self._kept is None:
            return found
        return [tracks.select(np.isin(tracks.label, self._kept)) for tracks in found]

    @abstractmethod
    def _predict(self, samples: list, first_frame: int) -> list[Tracks]:
        """Track prepared frames, of all classes; see :meth:`predict_prepared`."""

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
    def describe(self) -> list[str]:
        """Say on a few lines what tracks, by which thresholds, with which weights."""


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
