# Copyright (c) mmfdta authors.
"""One of several videos that are tracked on one model."""

import os
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mmfdta.models.trackers.gallery import IdentityGallery
from mmfdta.structures.tracks import Tracks
from mmfdta.visualization import TrackStyle

from .counting import ObjectCounter
from .result_names import refuse_replacing
from .sources import FrameSource, SourceOptions, open_source
from .sources.opening import Source
from .track_outputs import (
    EmbeddingFile,
    VideoFacts,
    VideoOptions,
    keep_audio,
    plan_counts,
    plan_outputs,
)
from .tracked_frame import TrackedFrame
from .tracking_run import FramePreparer, TrackingReport, TrackingRun
from .window import Window

if TYPE_CHECKING:
    from .video_tracker import VideoTracker

_FRAME_RATE = 25.0  # of a source that says none


class TrackingSession:
    """A video that is tracked, with a state of its own on a model that others share.

    :meth:`VideoTracker.session` makes it. Sessions do not see each other: frames of
    several videos may come in any order, and each session may be in a thread of its
    own. One session is used by one thread at a time.

    Example:
        >>> hall, yard = inferencer.session(), inferencer.session()
        >>> tracks = hall.step(frame)
        >>> found = inferencer.step({hall: frame, yard: other})
        >>> report = yard('yard.mp4', out='yard.txt')

    Args:
        owner: Whose model it is on.
        state: What the owner knows of the video.
        gallery: Who is remembered.

    Attributes:
        classes: Names of the model's classes, where known.
        kept_classes: Names of those that are returned.
        preprocessor: Makes model inputs of frames.
        gallery: Who is remembered from video to video; None without a gallery. That of
            a session begins with who the inferencer remembers, and is then its own:
            nobody is saved unless its ``path`` is set or ``save`` called.
        state: What the model knows of the video.
        num_frames: Frames that :meth:`step` has taken since the video began.
    """

    classes: tuple[str, ...]
    kept_classes: tuple[str, ...]
    preprocessor: FramePreparer
    gallery: IdentityGallery | None = None
    state: Any = None
    num_frames = 0
    # The video of `track` that the state is of.
    _video: FrameSource | None = None

    def __init__(
        self, owner: 'VideoTracker', state: Any, gallery: IdentityGallery | None
    ) -> None:
        self._owner = owner
        self.classes = owner.classes
        self.kept_classes = owner.kept_classes
        self.preprocessor = owner.preprocessor
        self.state = state
        self.gallery = gallery

    @property
    def owner(self) -> 'VideoTracker':
        """Whose model it is on."""
        return self._owner

    def reset(self) -> None:
        """Start a new video: the next frame given to :meth:`step` is its first.

        A video of :meth:`track` that has not ended is left: going on with it is an
        error.
        """
        self.num_frames = 0
        self._video = None

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
            RuntimeError: If a video of :meth:`track` has not ended.
        """
        return self.owner.step({self: frame})[self]

    def end_video(self) -> None:
        """Start a new video, and save a gallery that has a file.

        Raises:
            OSError: If it cannot be written.
        """
        self.reset()
        if self.gallery is not None and self.gallery.path is not None:
            self.gallery.save(self.gallery.path)

    def facts_of(
        self, source: FrameSource, frame_rate: float | None = None
    ) -> VideoFacts:
        """Say what results say about a video that is tracked here.

        Args:
            source: The video.
            frame_rate: Frames per second of results; None takes the source's, or 25 if
                it says nothing.
        """
        return VideoFacts(
            source.name,
            float(frame_rate or source.frame_rate or _FRAME_RATE),
            self.classes,
            self.owner.class_numbers,
            source.time_base,
            source.pixel_aspect,
        )

    def check_files(self, files: Iterable[str | os.PathLike]) -> None:
        """Refuse results that would take the place of the gallery.

        Args:
            files: What would be written.

        Raises:
            ValueError: If one is the gallery's file.
        """
        if self.gallery is not None and self.gallery.path is not None:
            refuse_replacing([self.gallery.path], files, 'the gallery')

    def check_step(self) -> None:
        """Refuse frames from outside while a video of :meth:`track` has not ended.

        Raises:
            RuntimeError: If one has not.
        """
        if self._video is not None:
            raise RuntimeError(
                f'{self._video.name}: found step in the middle of track; take another '
                'session with session(), or leave the video with reset()'
            )

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
            ValueError: If an argument is wrong, or a file is the source or the gallery.
            RuntimeError: If no window can be opened, or another video was begun with
                this session before this one has ended.
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
            self.check_files(files)
        window = Window('mmfdta track') if show else None
        reading = source_options or SourceOptions()
        frames = open_source(
            source, replace(reading, frame_rate=reading.frame_rate or frame_rate)
        )
        owner = self.owner
        facts = self.facts_of(frames, frame_rate)
        written = VideoOptions(crf=crf, even=frame_rate is not None)
        if audio:
            written = keep_audio(written, frames)

        def predict(samples: list, first_frame: int) -> list[Tracks]:
            if self._video is not frames:
                raise RuntimeError(
                    f'{frames.name}: another video was begun with this tracker, which '
                    'tracks one at a time; end this one first, or take session() for '
                    'the other'
                )
            return self.predict_prepared(samples, first_frame)

        try:
            style = style or TrackStyle()
            outputs = plan_outputs(out, facts, style, caption, written)
            for output in outputs:
                if isinstance(output, EmbeddingFile) and not owner.keep_embeddings:
                    raise ValueError(
                        f'out: found {output.path}, but embeddings are not kept; open '
                        'the model with keep_embeddings=True'
                    )
            outputs += plan_counts(counts, facts, counter, outputs)
            if counter is not None:
                counter.reset()
            run = TrackingRun(
                frames,
                self.preprocessor,
                predict,
                outputs,
                batch_size=1 if frames.live else owner.choose_batch,
                largest_batch=max(owner.largest_batch, owner.batch_size or 1),
                max_frames=max_frames,
                progress=progress,
                classes=self.classes,
                style=style,
                counter=counter,
                window=window,
            )
            self.reset()
            self._video = frames
            return (yield from run.frames())
        finally:
            frames.close()
            # What was begun meanwhile goes on.
            if self._video is frames:
                self.end_video()

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
        owner = self.owner
        return owner.keep_classes(owner.predict_video(samples, first_frame, self))
