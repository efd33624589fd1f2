# Copyright (c) mmfdta authors.
"""One video from its first frame to its last: read, track and write at once."""

import itertools
import logging
import time
from collections import Counter, deque
from collections.abc import (
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmfdta.structures.tracks import Tracks
from mmfdta.utils.logs import say
from mmfdta.visualization import TrackDrawer, TrackStyle
from mmfdta.visualization.drawing import class_name

from .background import BackgroundConsumer, Prefetcher
from .counting import Counts, ObjectCounter
from .progress import Progress, format_speed
from .sources import FrameSource, SourceFrame
from .track_outputs import TrackOutput
from .tracked_frame import TrackedFrame
from .window import Window

# Frames that wait before the model (at least a batch) and behind it.
_QUEUE = 4
_SMOOTHING = 0.9


@dataclass(frozen=True)
class TrackingReport:
    """How the tracking of a video went.

    Attributes:
        source: The video.
        num_frames: Frames tracked.
        dropped_frames: Frames of a live source left out to keep up.
        skipped_frames: Frames that could not be decoded, and were crossed.
        damaged_frames: Frames that were tracked, but decoded in part.
        seconds: From the first frame to the last file.
        model_seconds: Of these, seconds the model was busy.
        complete: The source came to its proper end.
        problem: What ended it otherwise; also how a live source ended.
        files: What was written.
        stopped: Whoever watched the window ended it.
        counts: What was counted.
        tracks: Name of a class -> how many identities had it first, most first.
    """

    source: str
    num_frames: int
    dropped_frames: int
    seconds: float
    model_seconds: float
    complete: bool
    problem: str | None
    files: tuple[Path, ...]
    stopped: bool = False
    counts: Counts | None = None
    tracks: Mapping[str, int] = field(default_factory=dict)
    skipped_frames: int = 0
    damaged_frames: int = 0

    def describe_tracks(self) -> str:
        """Write in a few words how many tracks of which class there were."""
        names = ', '.join(f'{count} {name}' for name, count in self.tracks.items())
        return f'{sum(self.tracks.values())} tracks' + (f' ({names})' if names else '')

    @property
    def fps(self) -> float:
        """Frames per second over all."""
        return self.num_frames / max(self.seconds, 1e-9)

    @property
    def busy(self) -> float:
        """Share of the time in which the model was busy."""
        return self.model_seconds / max(self.seconds, 1e-9)

    def __str__(self) -> str:
        text = (
            f'{self.source}: tracked {self.num_frames} frames in {self.seconds:.1f} s, '
            f'{format_speed(self.fps)}, model busy {self.busy:.0%}'
        )
        if self.dropped_frames:
            text += f'; left out {self.dropped_frames} frames to keep up'
        if self.skipped_frames:
            text += f'; frames that could not be decoded: {self.skipped_frames}'
        if self.damaged_frames:
            text += f'; damaged frames: {self.damaged_frames}'
        if self.stopped:
            text += '; stopped in the window'
        if self.files:
            text += f'; wrote {", ".join(map(str, self.files))}'
        if self.problem is not None:
            text += f'; {"" if self.complete else "NOT COMPLETE: "}{self.problem}'
        return text


class FramePreparer(Protocol):
    """Makes of a frame what a model takes."""

    def __call__(
        self, image: np.ndarray, index: int, video: str = '', num_frames: int = 0
    ) -> Any:
        """Prepare a frame.

        Args:
            image: uint8 (H, W, 3) BGR.
            index: Number in its video, from 0.
            video: Name of the video.
            num_frames: Length of the video, 0 if unknown.
        """

    def input_shape(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of a frame (height, width) before any padding."""


# A frame and what the model gets of it.
_Prepared = tuple[SourceFrame, Any]


class VideoResults:
    """What becomes of the tracked frames of a source: images, counts, files.

    The frame numbers of the source stand in everything that leaves it. Files are
    written in a thread.

    Args:
        source: The frames.
        outputs: Take the tracked frames.
        depth: Frames that may wait for them.
        classes: Names of the model's classes.
        style: How frames are drawn.
        counter: Counts the objects.

    Attributes:
        num_frames: Frames tracked.
        model_seconds: Seconds that the model took.
        fps: Frames per second at the moment.
    """

    def __init__(
        self,
        source: FrameSource,
        outputs: list[TrackOutput],
        depth: int,
        classes: Sequence[str] = (),
        style: TrackStyle | None = None,
        counter: ObjectCounter | None = None,
    ) -> None:
        self.num_frames = 0
        self.model_seconds = 0.0
        self.fps = 0.0
        self._source = source
        self._outputs = outputs
        self._classes = classes
        self._style = style or TrackStyle()
        self._counter = counter
        self._earlier: deque[Tracks] = deque(maxlen=self._style.earlier_frames)
        self._labels: dict[int, int] = {}
        self._failed: list[TrackOutput] = []
        self._start = time.perf_counter()
        self._writer = BackgroundConsumer(self._write, depth)

    def add(
        self, frames: Sequence[SourceFrame], tracks: Sequence[Tracks], seconds: float
    ) -> Iterator[TrackedFrame]:
        """Take the next frames.

        A frame counts when it is asked for: one that nobody gets any more, because the
        run is left in the middle of a batch, is in no number and no file.

        Args:
            frames: As they were read.
            tracks: What was found in each.
            seconds: That the model took for them.

        Yields:
            The frames with all that is known of them.
        """
        self.model_seconds += seconds
        fps = len(frames) / max(seconds, 1e-9)
        weight = _SMOOTHING if self.num_frames else 0.0
        self.fps = weight * self.fps + (1 - weight) * fps
        for frame, found in zip(frames, tracks, strict=True):
            yield self._describe(frame, found)

    def _describe(self, frame: SourceFrame, found: Tracks) -> TrackedFrame:
        """Put together what is known of a frame, and count it."""
        self.num_frames += 1
        found = replace(found, frame=np.full_like(found.frame, frame.number))
        pairs = zip(found.identity.tolist(), found.label.tolist(), strict=True)
        for identity, label in pairs:
            self._labels.setdefault(identity, label)
        tracked = TrackedFrame(
            frame.number - 1,
            frame.image,
            found,
            self.fps,
            None if frame.time is None else float(frame.time),
            classes=self._classes,
            style=self._style,
            earlier=tuple(self._earlier),
        )
        if self._counter is not None:
            tracked = replace(tracked, counts=self._counter.update(tracked))
        self._earlier.append(found)
        return tracked

    def write(self, frame: TrackedFrame) -> None:
        """Hand a frame to the writing thread; what failed there before is raised."""
        self._writer.put(frame)

    @property
    def is_full(self) -> bool:
        """Whether :meth:`write` would wait."""
        return self._writer.is_full

    def close(self) -> None:
        """Wait until all is written; :meth:`check` raises what failed."""
        self._writer.close()

    def check(self) -> None:
        """Raise what the writing thread raised, if it did."""
        self._writer.check()

    def finish(self, dropped_frames: int, stopped: bool = False) -> TrackingReport:
        """Finish the files, after :meth:`close` and :meth:`check`.

        Args:
            dropped_frames: That a live source left out.
            stopped: Whoever watched the window ended it.

        Raises:
            OSError: If a file is not whole; the others are all the same.
        """
        problem = None if stopped else self._source.problem
        complete = self._source.live or problem is None
        files = self._finish_all(complete)
        labels = self._labels.values()
        names = Counter(class_name(self._classes, label) for label in labels)
        return TrackingReport(
            source=self._source.name,
            num_frames=self.num_frames,
            dropped_frames=dropped_frames,
            skipped_frames=self._source.skipped,
            damaged_frames=self._source.damaged,
            seconds=time.perf_counter() - self._start,
            model_seconds=self.model_seconds,
            complete=complete,
            problem=problem,
            files=files,
            stopped=stopped,
            counts=None if self._counter is None else self._counter.finish(),
            tracks=dict(names.most_common()),
        )

    def abandon(self, reason: BaseException) -> None:
        """Keep what there is, under names that say that it is not all."""
        # Whoever watches a camera ends it by leaving.
        leaving = isinstance(reason, GeneratorExit | KeyboardInterrupt)
        complete = self._source.live and leaving
        try:
            files = self._finish_all(complete)
        except OSError as error:
            say(f'{self._source.name}: {error}', logging.WARNING)
            return
        if files:
            state = 'stopped' if complete else 'NOT COMPLETE'
            say(
                f'{self._source.name}: {state} after {self.num_frames} frames; '
                f'what was tracked is in {", ".join(map(str, files))}',
                logging.WARNING,
            )

    def _write(self, frame: TrackedFrame) -> None:
        """Runs in the writing thread; nothing is written after an error."""
        for output in [] if self._failed else self._outputs:
            try:
                output.write(frame)
            except BaseException:
                self._failed.append(output)
                raise

    def _finish_all(self, complete: bool) -> tuple[Path, ...]:
        """Finish every output; an error of one does not cost the others."""
        files, errors = [], []
        for output in self._outputs:
            if output in self._failed:
                output.discard()
                continue
            try:
                path = output.finish(complete)
            except OSError as error:
                errors.append(error)
            else:
                files += [path] if path is not None else []
        if errors:
            if files:
                say(f'Written completely: {", ".join(map(str, files))}')
            raise errors[0]
        return tuple(files)


class TrackingRun:
    """Tracks the frames of a source and hands them on to outputs.

    A thread reads and prepares frames, this one runs the model, a third one
    draws and writes; the queues between them are short. A live source has a thread of
    its own, which leaves out the oldest frames when too many wait.

    The model counts the frames that it is given, without gaps: that is a tracker's
    clock. Everything that leaves the run has the frame numbers of the source.

    Args:
        source: The frames.
        prepare: Makes model inputs.
        predict: Prepared frames, and the number of the first as the model counts, to
            tracks.
        outputs: Take the tracked frames.
        batch_size: Frames given to the model at a time; or what says so of the first
            prepared frame of a size.
        largest_batch: Most frames that it may say.
        max_frames: Stop after so many.
        progress: Show a progress bar.
        classes: Names of the model's classes.
        style: How frames are drawn.
        counter: Counts the objects.
        window: Shows the frames.
    """

    def __init__(
        self,
        source: FrameSource,
        prepare: FramePreparer,
        predict: Callable[[list, int], list[Tracks]],
        outputs: list[TrackOutput],
        batch_size: int | Callable[[Any], int] = 1,
        largest_batch: int = 1,
        max_frames: int | None = None,
        progress: bool = False,
        classes: Sequence[str] = (),
        style: TrackStyle | None = None,
        counter: ObjectCounter | None = None,
        window: Window | None = None,
    ) -> None:
        self._source = source
        self._prepare = prepare
        self._predict = predict
        self._batch_size = batch_size
        self._largest_batch = largest_batch
        self._max_frames = max_frames
        total = source.num_frames
        if total is not None and max_frames is not None:
            total = min(total, max_frames)
        self._progress = Progress(total) if progress else None
        self._results = partial(
            VideoResults,
            source,
            outputs,
            classes=classes,
            style=style,
            counter=counter,
        )
        self._window = window
        self._drawer = None
        if window is not None:
            self._drawer = TrackDrawer(style or TrackStyle(), classes, 'bgr')
        self._stopped = False

    def frames(self) -> Generator[TrackedFrame, None, TrackingReport]:
        """Track everything.

        Yields:
            Each frame.

        Returns:
            How it went; the value of the generator.
        """
        size = self._batch_size
        most = size if isinstance(size, int) else self._largest_batch
        depth = max(_QUEUE, 2 * most)
        camera: Prefetcher[SourceFrame] | None = None
        if self._source.live:
            camera = Prefetcher(self._source, _QUEUE, drop_oldest=True)
            depth = 1
        results = self._results(depth=depth)
        reader = Prefetcher(self._read(camera or self._source), depth)
        try:
            try:
                for batch in self._batches(reader):
                    for frame in self._track(batch, results):
                        results.write(frame)
                        if self._progress is not None:
                            self._progress.update(frame.fps)
                        yield frame
                        if self._window is not None and self._drawer is not None:
                            image = frame.draw_with(self._drawer)
                            self._stopped = not self._window.show(image)
                        if self._stopped:
                            break
                    if self._stopped:
                        break
            finally:
                if self._window is not None:
                    self._window.close()
                self._source.close()
                if camera is not None:
                    camera.close()
                reader.close()
                results.close()
                if self._progress is not None:
                    self._progress.close()
            results.check()
        except BaseException as error:
            results.abandon(error)
            raise
        return results.finish(camera.dropped if camera else 0, self._stopped)

    def _read(self, frames: Iterable[SourceFrame]) -> Iterator[_Prepared]:
        """Runs in the reading thread."""
        facts = self._source.name, self._source.num_frames or 0
        for index, frame in enumerate(itertools.islice(frames, self._max_frames)):
            yield frame, self._prepare(frame.image, index, *facts)

    def _batches(self, reader: Prefetcher[_Prepared]) -> Iterator[list[_Prepared]]:
        """Group frames of one size."""
        for _, frames in itertools.groupby(
            reader, key=lambda item: item[0].image.shape
        ):
            first = next(frames)
            size = self._batch_size
            if not isinstance(size, int):
                size = size(first[1])
            frames = itertools.chain([first], frames)
            while batch := list(itertools.islice(frames, size)):
                yield batch

    def _track(
        self, batch: list[_Prepared], results: VideoResults
    ) -> Iterator[TrackedFrame]:
        begin = time.perf_counter()
        tracks = self._predict([sample for _, sample in batch], results.num_frames + 1)
        spent = time.perf_counter() - begin
        return results.add([frame for frame, _ in batch], tracks, spent)
