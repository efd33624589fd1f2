# Copyright (c) mmfdta authors.
"""Cameras and streams side by side on one model, within budgets that are said."""

import copy
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from mmfdta.utils.logs import say
from mmfdta.visualization import TrackStyle

from .counting import ObjectCounter
from .progress import format_speed
from .sources import FrameSource, SourceFrame, SourceOptions, open_source
from .track_outputs import VideoOptions, plan_outputs
from .tracked_frame import TrackedFrame
from .tracking_run import TrackingReport, VideoResults
from .tracking_session import TrackingSession
from .video_tracker import VideoTracker

# Frames of a stream that wait for the model.
_WAITING = 4
# Frames that wait for the files.
_WRITING = 4
_POLL_SECONDS = 0.1
_PATIENCE = 2.0
# Share of what was known before in the estimate of how long the model takes.
_SMOOTHING = 0.8


@dataclass(frozen=True)
class StreamBudget:
    """What a stream may cost at most.

    Attributes:
        max_latency: Seconds from the arrival of a frame to its tracks; frames that
            cannot keep it are left out, except for the newest one. None: no limit.
        max_dropped: Share of the frames that may be left out, 0 to 1; None: no limit.

    Raises:
        ValueError: If a value makes no sense.
    """

    max_latency: float | None = None
    max_dropped: float | None = None

    def __post_init__(self) -> None:
        if self.max_latency is not None and not 0 < self.max_latency < float('inf'):
            raise ValueError(
                f'max_latency (--max-latency): found {self.max_latency:g}, expected '
                'more than 0 seconds'
            )
        if self.max_dropped is not None and not 0 <= self.max_dropped <= 1:
            raise ValueError(
                f'max_dropped (--max-dropped): found {self.max_dropped:g}, expected a '
                'share, 0 to 1'
            )


@dataclass(frozen=True)
class StreamReport:
    """How the tracking of a stream went.

    Attributes:
        tracking: Frames, files, tracks; how it ended.
        budget: What it was allowed.
        latency: Seconds from the arrival of a frame to its tracks: the median and the
            95th percentile; None without a frame.
    """

    tracking: TrackingReport
    budget: StreamBudget
    latency: tuple[float, float] | None

    @property
    def dropped(self) -> float:
        """Share of the frames that was left out to keep up."""
        left_out = self.tracking.dropped_frames
        return left_out / max(left_out + self.tracking.num_frames, 1)

    @property
    def keeps_latency(self) -> bool:
        """Whether 95 % of the frames kept the budget, or there is none."""
        limit = self.budget.max_latency
        return limit is None or self.latency is None or self.latency[1] <= limit

    @property
    def keeps_dropped(self) -> bool:
        """Whether no more frames were left out than allowed."""
        limit = self.budget.max_dropped
        return limit is None or self.dropped <= limit

    @property
    def is_kept(self) -> bool:
        """Whether the stream kept its budget."""
        return self.keeps_latency and self.keeps_dropped

    def __str__(self) -> str:
        text = f'{self.tracking}; left out {self.dropped:.1%}'
        if self.budget.max_dropped is not None:
            text += (
                f' ({"within" if self.keeps_dropped else "MORE THAN"} '
                f'{self.budget.max_dropped:.1%})'
            )
        if self.latency is not None:
            text += (
                f'; latency {self.latency[0]:.3f} s in the middle, '
                f'{self.latency[1]:.3f} s at the 95th percentile'
            )
            if self.budget.max_latency is not None:
                text += (
                    f' ({"within" if self.keeps_latency else "MORE THAN"} '
                    f'{self.budget.max_latency:g} s)'
                )
        return text


class FrameBuffer:
    """The newest frames of a stream that wait for the model.

    Args:
        max_latency: See :class:`StreamBudget`.
        depth: How many may wait; the oldest is left out where one more comes.

    Attributes:
        dropped: Frames left out so far.
    """

    def __init__(self, max_latency: float | None = None, depth: int = _WAITING) -> None:
        self.dropped = 0
        self._max_latency = max_latency
        self._depth = depth
        self._frames: deque[tuple[SourceFrame, float]] = deque()

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: SourceFrame, now: float) -> None:
        """Let a frame wait that has arrived.

        Args:
            frame: The frame.
            now: Seconds of any clock.
        """
        if len(self._frames) == self._depth:
            self._frames.popleft()
            self.dropped += 1
        self._frames.append((frame, now))

    def take(self, now: float, needed: float) -> tuple[SourceFrame, float]:
        """Take the frame that is to be tracked next.

        That is the oldest one. If it cannot keep the budget any more, it is the newest
        one, whatever that keeps: a stream that is too fast is followed, and never left.

        Args:
            now: Seconds of the same clock.
            needed: Seconds that the model is going to take.

        Returns:
            The frame, and when it arrived.

        Raises:
            IndexError: If none waits.
        """
        limit = self._max_latency
        if limit is not None and now - self._frames[0][1] + needed > limit:
            while len(self._frames) > 1:
                self._frames.popleft()
                self.dropped += 1
        return self._frames.popleft()

    def clear(self) -> None:
        """Forget the frames that wait."""
        self._frames.clear()


class Latencies:
    """Percentiles of times, however many there are, to three digits."""

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[float(f'{seconds:.3g}')] += 1

    def percentile(self, share: float) -> float | None:
        """Return the least time that a share of all does not exceed; None of none."""
        wanted = share * self._counts.total()
        reached = 0
        for seconds, count in sorted(self._counts.items()):
            reached += count
            if reached >= wanted:
                return seconds
        return None


class _Stream:
    """A stream that is read in a thread of its own.

    Args:
        source: It.
        session: Its state on the model.
        results: What becomes of its frames.
        budget: What it may cost.
        changed: Is told of every frame, and of the end; its lock guards the frames.
    """

    def __init__(
        self,
        source: FrameSource,
        session: TrackingSession,
        results: VideoResults,
        budget: StreamBudget,
        changed: threading.Condition,
    ) -> None:
        self.source = source
        self.session = session
        self.results = results
        self.budget = budget
        self.buffer = FrameBuffer(budget.max_latency)
        self.latencies = Latencies()
        self.error: BaseException | None = None
        self.has_ended = False
        self._changed = changed
        self._closed = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading; :meth:`wait` waits for it."""
        self.source.close()
        with self._changed:
            self._closed = True
            self.buffer.clear()
            self.has_ended = True

    def wait(self) -> None:
        """Wait for the thread; one that hangs in its source is left behind."""
        self._thread.join(_PATIENCE)

    def report(self) -> StreamReport:
        """Finish the files."""
        low, high = (self.latencies.percentile(share) for share in (0.5, 0.95))
        latency = None if low is None or high is None else (low, high)
        tracking = self.results.finish(self.buffer.dropped)
        return StreamReport(tracking, self.budget, latency)

    def _read(self) -> None:
        try:
            for frame in self.source:
                with self._changed:
                    if self._closed:
                        return
                    self.buffer.put(frame, time.monotonic())
                    self._changed.notify()
        except BaseException as error:
            self.error = error
        finally:
            with self._changed:
                self.has_ended = True
                self._changed.notify()


class LiveStreams:
    """Tracks live sources side by side on one model.

    Each source is read in a thread, and its tracks are written in another. The model
    gets the next frame of every source that has one, at once. A source that stalls,
    comes back or ends does not hold up the others; one that is faster than the model
    leaves out frames, and so does one whose files are written too slowly.

    Args:
        tracker: Its model tracks, each source in a session of
            :meth:`VideoTracker.session`. A source alone has the tracker's own if it
            has a gallery, which then knows who comes back.
        sources: Cameras and streams, see :func:`open_source`.
        outs: Files of each, see :meth:`VideoTracker.track`.
        budget: What each of them may cost.
        style: How tracks are drawn.
        caption: Draw the frame's number, its tracks and the speed.
        frame_rate: Frames per second of written videos; None keeps their times.
        max_frames: End a source after so many tracked frames.
        source_options: How they are read.
        counter: Counts objects, in each source from zero.
        crf: Constant rate factor of written videos.

    Attributes:
        reports: How it went with each source that was opened, by its place.
        errors: Why a source could not be opened or read, by its place.

    Raises:
        ValueError: If an argument is wrong, or a source is not live.
    """

    def __init__(
        self,
        tracker: VideoTracker,
        sources: Sequence[str],
        outs: Sequence[Sequence[Path]],
        budget: StreamBudget | None = None,
        *,
        style: TrackStyle | None = None,
        caption: bool = True,
        frame_rate: float | None = None,
        max_frames: int | None = None,
        source_options: SourceOptions | None = None,
        counter: ObjectCounter | None = None,
        crf: int | None = None,
    ) -> None:
        if len(outs) != len(sources):
            raise ValueError(f'outs: found {len(outs)}, expected {len(sources)}')
        files = [Path(path).resolve() for out in outs for path in out]
        if len({*files}) < len(files):
            raise ValueError('outs: one file is named twice')
        self.reports: dict[int, StreamReport] = {}
        self.errors: dict[int, Exception] = {}
        self._tracker = tracker
        self._sources = list(sources)
        self._outs = outs
        self._budget = budget or StreamBudget()
        self._style = style or TrackStyle()
        self._caption = caption
        self._frame_rate = frame_rate
        self._max_frames = max_frames
        reading = source_options or SourceOptions()
        rate = reading.frame_rate or frame_rate
        self._reading = replace(reading, frame_rate=rate)
        self._counter = counter
        self._crf = crf
        self._changed = threading.Condition()
        self._seconds = 0.0
        self._start = time.perf_counter()
        self._streams: dict[int, _Stream] = {}

    def frames(self) -> Generator[tuple[int, TrackedFrame], None, None]:
        """Track until all sources have ended, or the loop is left.

        Files appear under their names when their source ends, and all of them when the
        loop is left; :attr:`reports` is filled then.

        Yields:
            The place of a source, and its next frame.

        Raises:
            OSError: If a file cannot be written.
            ValueError: If a source is not live, a file is the gallery, or a box is not
                finite.
        """
        streams = self._streams
        reason: BaseException | None = None
        opened = self._open()
        try:
            for place, source in opened.items():
                streams[place] = self._begin(source, self._outs[place])
            running = dict(streams)
            while running:
                for place, stream in list(running.items()):
                    if stream.has_ended and not len(stream.buffer):
                        del running[place]
                        self._end(place, stream)
                yield from self._step(running)
        except BaseException as error:
            reason = error
            raise
        finally:
            for place in opened.keys() - streams.keys():
                opened[place].close()
            left = [p for p in streams if p not in {*self.reports, *self.errors}]
            for place in left:
                streams[place].close()
            self._end_all({place: streams[place] for place in left}, reason)

    def __str__(self) -> str:
        """How far they are, on a line."""
        streams = self._streams.values()
        running = sum(not stream.has_ended for stream in streams)
        frames = sum(stream.results.num_frames for stream in streams)
        dropped = sum(stream.buffer.dropped for stream in streams)
        seconds = max(time.perf_counter() - self._start, 1e-9)
        return (
            f'streams: {running} of {len(self._sources)} running, {frames} frames, '
            f'left out {dropped / max(frames + dropped, 1):.1%}  '
            f'{format_speed(frames / seconds)}'
        )

    def _open(self) -> dict[int, FrameSource]:
        """Open the sources at the same time: one may take its time to answer."""
        opened: dict[int, FrameSource] = {}
        with ThreadPoolExecutor(max(1, len(self._sources))) as threads:
            begun = [
                threads.submit(open_source, source, self._reading)
                for source in self._sources
            ]
        refused: Exception | None = None
        for place, future in enumerate(begun):
            try:
                opened[place] = future.result()
            except OSError as error:
                self._fail(place, error)
            except Exception as error:
                refused = refused or error
        files = [source.name for source in opened.values() if not source.live]
        if files and refused is None:
            refused = ValueError(
                f'{files[0]}: found a file, expected a camera or a stream; streams are '
                'tracked side by side, files by their own command'
            )
        if refused is not None:
            for source in opened.values():
                source.close()
            raise refused
        return opened

    def _begin(self, source: FrameSource, out: Sequence[Path]) -> _Stream:
        """Begin to read a source."""
        tracker = self._tracker
        remembers = len(self._sources) == 1 and tracker.gallery is not None
        session = tracker if remembers else tracker.session()
        session.check_files(out)
        session.reset()
        facts = session.facts_of(source, self._frame_rate)
        video = VideoOptions(crf=self._crf, even=self._frame_rate is not None)
        outputs = plan_outputs(out, facts, self._style, self._caption, video)
        counter = copy.deepcopy(self._counter)
        if counter is not None:
            counter.reset()
        results = VideoResults(
            source, outputs, _WRITING, tracker.classes, self._style, counter
        )
        return _Stream(source, session, results, self._budget, self._changed)

    def _step(
        self, running: dict[int, _Stream]
    ) -> Generator[tuple[int, TrackedFrame], None, None]:
        """Track the next frame of each stream that has one."""
        taken: dict[int, tuple[SourceFrame, float]] = {}
        with self._changed:
            ready = {p: s for p, s in running.items() if len(s.buffer)}
            if not ready and not any(s.has_ended for s in running.values()):
                self._changed.wait(_POLL_SECONDS)
            now = time.monotonic()
            for place, stream in running.items():
                if len(stream.buffer) and not stream.results.is_full:
                    taken[place] = stream.buffer.take(now, self._seconds)
            if ready and not taken:
                self._changed.wait(_POLL_SECONDS / 10)  # all of them are written
        if not taken:
            return
        begin = time.monotonic()
        images = {running[p].session: frame.image for p, (frame, _) in taken.items()}
        found = self._tracker.step(images)
        end = time.monotonic()
        spent = end - begin
        weight = _SMOOTHING if self._seconds else 0.0
        self._seconds = weight * self._seconds + (1 - weight) * spent
        for place, (frame, arrived) in taken.items():
            stream = running[place]
            stream.latencies.add(end - arrived)
            tracks = found[stream.session]
            share = spent / len(taken)
            (tracked,) = stream.results.add([frame], [tracks], share)
            stream.results.write(tracked)
            yield place, tracked
            if stream.results.num_frames == self._max_frames:
                stream.close()

    def _end(self, place: int, stream: _Stream) -> None:
        """Finish a stream that came to its end, while others go on."""
        stream.results.close()
        stream.results.check()
        if isinstance(stream.error, OSError):
            self._fail(place, stream.error)
            stream.results.abandon(stream.error)
        elif stream.error is not None:
            raise stream.error
        else:
            self.reports[place] = stream.report()
            if stream.source.problem is not None:
                say(stream.source.problem, logging.WARNING)
        stream.session.end_video()

    def _fail(self, place: int, error: Exception) -> None:
        """Note why a source is not tracked, and say it: others may go on for long."""
        self.errors[place] = error
        say(str(error), logging.WARNING)

    def _end_all(
        self, streams: dict[int, _Stream], reason: BaseException | None
    ) -> None:
        """Finish the streams that are still read, as complete as they are."""
        for stream in streams.values():
            stream.wait()
            stream.results.close()
        if reason is None or isinstance(reason, GeneratorExit | KeyboardInterrupt):
            errors = []
            for place, stream in streams.items():
                try:
                    self._end(place, stream)
                except Exception as error:
                    self._fail(place, error)
                    stream.results.abandon(error)
                    if not isinstance(error, OSError):
                        errors.append(error)
            if errors:
                raise errors[0]
            return
        for stream in streams.values():
            stream.results.abandon(reason)
            stream.session.end_video()
