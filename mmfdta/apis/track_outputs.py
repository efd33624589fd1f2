# Copyright (c) mmfdta authors.
"""What a tracked video leaves: video, text, JSON, JSON lines, CSV and embeddings."""

import contextlib
import errno
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from mmfdta.structures.mot_text import format_tracks
from mmfdta.structures.tables import csv_table
from mmfdta.structures.track_embeddings import (
    SUFFIX,
    EmbeddedTracks,
    TrackEmbeddings,
)
from mmfdta.utils.logs import say
from mmfdta.visualization import (
    VIDEO_SUFFIXES,
    TrackDrawer,
    TrackStyle,
    VideoWriter,
    draw_caption,
)
from mmfdta.visualization.drawing import class_name
from mmfdta.visualization.video_writer import check_folder, temporary_path

from .counting import LINE_EVENTS, ZONE_EVENTS, Counts, ObjectCounter
from .progress import format_speed
from .sources import FrameSource
from .tracked_frame import TrackedFrame

# Digits of seconds.
TIME_DECIMALS = 6


@dataclass(frozen=True)
class VideoFacts:
    """What results say about a video.

    Attributes:
        name: The video.
        frame_rate: Frames per second; frames without a time come at it.
        classes: Names of the classes, as far as they are known.
        numbers: What column 8 of MOTChallenge text gets for each label; None: -1.
        time_base: Unit of the time stamps of the video, seconds, where they have one.
        pixel_aspect: Width of a pixel by its height.
    """

    name: str
    frame_rate: Fraction | float
    classes: Sequence[str] = ()
    numbers: Sequence[int] | None = None
    time_base: Fraction | None = None
    pixel_aspect: Fraction = Fraction(1)


@dataclass(frozen=True)
class VideoOptions:
    """How annotated videos are encoded.

    Attributes:
        crf: Constant rate factor, see :class:`~mmfdta.visualization.VideoWriter`.
        even: Frames come at the frame rate, whatever their times are.
        audio_from: Path or address of the video whose audio is kept.
        audio_start: Tells the time stamp of the first frame there, seconds, as soon as
            that frame has been read.
    """

    crf: int | None = None
    even: bool = False
    audio_from: str | None = None
    audio_start: Callable[[], Fraction | float | None] | None = None


def keep_audio(options: VideoOptions, source: FrameSource) -> VideoOptions:
    """Let a written video have the audio of its source; say so if there is none."""
    if source.audio_from is None:
        say(
            f'{source.name}: no audio that can be read with the frames: the video is '
            'written without it',
            logging.WARNING,
        )
        return options
    return replace(
        options, audio_from=source.audio_from, audio_start=lambda: source.start
    )


class TrackOutput(Protocol):
    """Something that takes tracked frames in order."""

    path: Path

    def write(self, frame: TrackedFrame) -> None:
        """Take the next frame."""

    def finish(self, complete: bool) -> Path | None:
        """Complete the file; return where it stands, None if it is empty."""

    def discard(self) -> None:
        """Leave nothing behind."""


class AnnotatedVideo:
    """A video with the tracks drawn into it.

    Args:
        path: Where it will stand.
        facts: About the video.
        style: How tracks are drawn.
        caption: Write the frame's number and the speed into a corner.
        options: How it is encoded.
    """

    def __init__(
        self,
        path: Path,
        facts: VideoFacts,
        style: TrackStyle,
        caption: bool,
        options: VideoOptions,
    ) -> None:
        self.path = path
        self._frame_rate = Fraction(facts.frame_rate)
        self._even = options.even
        self._audio_start = options.audio_start
        self._writer = VideoWriter(
            path,
            facts.frame_rate,
            time_base=None if options.even else facts.time_base,
            crf=options.crf,
            pixel_aspect=facts.pixel_aspect,
            audio_from=options.audio_from,
        )
        self._drawer = TrackDrawer(style, facts.classes, channel_order='bgr')
        self._caption = caption

    def write(self, frame: TrackedFrame) -> None:
        """Draw and encode."""
        image = frame.draw_with(self._drawer)
        if self._caption:
            draw_caption(
                image,
                f'frame {frame.number}   {len(frame.tracks)} tracks   '
                f'{format_speed(frame.fps)}',
            )
        if self._audio_start is not None and self._writer.num_frames == 0:
            self._writer.audio_start = self._audio_start() or 0
        time: Fraction | float | None = None if self._even else frame.time
        if time is None:
            time = frame.index / self._frame_rate
        self._writer.write(image, time)

    def finish(self, complete: bool) -> Path | None:
        """Complete the file."""
        return self._writer.finish(final_path(self.path, complete))

    def discard(self) -> None:
        """Leave nothing behind."""
        self._writer.discard()


class _GrowingFile:
    """A file that grows frame by frame under a temporary name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._growing = temporary_path(path)
        self._file: IO[Any] | None = None

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk has been reported
                self._file.close()
            self._file = None
            self._growing.unlink(missing_ok=True)


class _StreamedText(_GrowingFile):
    """Text that grows frame by frame."""

    def __init__(self, path: Path, facts: VideoFacts) -> None:
        super().__init__(path)
        self.facts = facts
        self._num_frames = 0

    def write(self, frame: TrackedFrame) -> None:
        """Append the frame's tracks."""
        text = self._format(frame)
        if self._file is None:
            check_folder(self.path)
            text = self._head() + text
        with _explained(self.path):
            if self._file is None:
                self._file = self._growing.open('w', encoding='utf-8', newline='\n')
            self._file.write(text)
            # A full disk shows here, not at the end of a long video.
            self._file.flush()
        self._num_frames += 1

    def finish(self, complete: bool) -> Path | None:
        """Complete the file."""
        if self._file is None:
            return None
        target = final_path(self.path, complete)
        try:
            with _explained(self.path):
                self._file.write(self._tail(complete))
                self._file.close()
                os.replace(self._growing, target)
        finally:
            self.discard()
        return target

    def _head(self) -> str:
        return ''

    def _tail(self, complete: bool) -> str:
        return ''

    def _format(self, frame: TrackedFrame) -> str:
        raise NotImplementedError


class MOTText(_StreamedText):
    """MOTChallenge rows, to the digit those of the metric on the same tracks."""

    def _format(self, frame: TrackedFrame) -> str:
        try:
            return format_tracks(frame.tracks.rounded(), numbers=self.facts.numbers)
        except ValueError as error:
            raise ValueError(f'{self.path}: frame {frame.number}: {error}') from None


class TrackJSON(_StreamedText):
    """JSON with every frame, also those without objects, and the classes."""

    def _head(self) -> str:
        facts = dict(
            video=self.facts.name,
            frame_rate=float(self.facts.frame_rate),
            classes=list(self.facts.classes),
        )
        return json.dumps(facts)[:-1] + ', "frames": ['

    def _format(self, frame: TrackedFrame) -> str:
        separator = ',' if self._num_frames else ''
        return f'{separator}\n {_frame_as_json(frame, self.facts.classes)}'

    def _tail(self, complete: bool) -> str:
        end = dict(num_frames=self._num_frames, complete=complete)
        return '\n], ' + json.dumps(end)[1:] + '\n'


class TrackJSONLines(_StreamedText):
    """A line of JSON for every frame, also those without objects.

    It can be read while it grows: it has the name of what is not whole until it is, and
    every line is written at once. What was written stays there after an error.
    """

    def __init__(self, path: Path, facts: VideoFacts) -> None:
        super().__init__(path, facts)
        self._growing = final_path(path, complete=False)
        self._num_bytes = 0

    def write(self, frame: TrackedFrame) -> None:
        """Append the frame's tracks."""
        super().write(frame)
        assert self._file is not None
        self._num_bytes = self._file.tell()

    def discard(self) -> None:
        """Leave the lines that are whole."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk has been reported
                self._file.close()
            with contextlib.suppress(FileNotFoundError):  # it has its final name
                os.truncate(self._growing, self._num_bytes)
            self._file = None

    def _format(self, frame: TrackedFrame) -> str:
        return f'{_frame_as_json(frame, self.facts.classes)}\n'


class TrackCSV(_StreamedText):
    """CSV with a line of titles, and the class of every row by number and name."""

    _TITLES = ('frame', 'id', 'x', 'y', 'w', 'h', 'score', 'label', 'category', 'time')

    def _head(self) -> str:
        return csv_table(self._TITLES, [])

    def _format(self, frame: TrackedFrame) -> str:
        found = frame.tracks.rounded()
        columns = found.identity, found.xywh, found.score, found.label
        time = _rounded_time(frame)
        rows = (
            (number, *box, score, label, class_name(self.facts.classes, label), time)
            for number, box, score, label in zip(
                *(column.tolist() for column in columns), strict=True
            )
        )
        # The titles stand at the top of the file only.
        text = csv_table(self._TITLES, [(frame.number, *row) for row in rows])
        return text.partition('\n')[2]


class CountCSV(_StreamedText):
    """CSV of what a counter counts: a row per event, and at the end the totals.

    Args:
        path: Where it will stand.
        facts: About the video.
        counter: Counts in the frames that are written.
    """

    _TITLES = (
        *('row', 'frame', 'time', 'name', 'event', 'id', 'label', 'category'),
        *('count', 'seconds'),
    )

    def __init__(self, path: Path, facts: VideoFacts, counter: ObjectCounter) -> None:
        super().__init__(path, facts)
        self._counter = counter

    def _head(self) -> str:
        return csv_table(self._TITLES, [])

    def _format(self, frame: TrackedFrame) -> str:
        return self._events(frame.counts) if frame.counts is not None else ''

    def _tail(self, complete: bool) -> str:
        counts = self._counter.finish()
        names: list[tuple[str, tuple[str, ...]]] = [
            *((line.name, LINE_EVENTS) for line in counts.lines),
            *((zone.name, ZONE_EVENTS) for zone in counts.zones),
        ]
        labels = sorted({label for _, _, label in counts.totals})
        rows = []
        for name, events in names:
            for event, label in itertools.product(events, (None, *labels)):
                category = 'all' if label is None else self._category(label)
                count = counts.total(name, event, label)
                spent = counts.total_seconds(name, event, label)
                fixed = 'total', None, None, name, event, None
                rows.append((*fixed, label, category, count, _milliseconds(spent)))
        return self._events(counts) + self._rows(rows)

    def _events(self, counts: Counts) -> str:
        return self._rows(
            (
                *('event', e.frame, _milliseconds(e.time), e.name, e.event),
                *(e.identity, e.label, self._category(e.label)),
                *(1, _milliseconds(e.seconds)),
            )
            for e in counts.events
        )

    def _category(self, label: int) -> str:
        return class_name(self.facts.classes, label)

    def _rows(self, rows: Iterable[Sequence[object]]) -> str:
        return csv_table(self._TITLES, rows).partition('\n')[2]


class EmbeddingFile(_GrowingFile):
    """Embeddings of the tracks, which `mmfdta refine --embeddings` reads.

    Args:
        path: Where it will stand, see :class:`TrackEmbeddings`.
        facts: About the video.
    """

    def __init__(self, path: Path, facts: VideoFacts) -> None:
        super().__init__(path)
        self._facts = facts
        self._row: np.dtype | None = None

    def write(self, frame: TrackedFrame) -> None:
        """Append the embeddings of the frame's tracks.

        Raises:
            ValueError: If the tracks have none.
        """
        tracks = frame.tracks
        if not isinstance(tracks, EmbeddedTracks):
            raise ValueError(
                f'{self.path}: frame {frame.number} has tracks without embeddings; '
                'open the model with keep_embeddings=True (--keep-embeddings)'
            )
        known = np.flatnonzero(np.isfinite(tracks.embeddings).all(axis=1))
        if self._file is None:
            check_folder(self.path)
        with _explained(self.path):
            if self._file is None:
                self._file = self._growing.open('w+b')
            if not len(known):
                return
            if self._row is None:
                self._row = _row_of_embeddings(tracks.embeddings.shape[1])
            rows = np.empty(len(known), self._row)
            for name in rows.dtype.names or ():
                rows[name] = getattr(tracks, name)[known]
            if self._facts.numbers is None:
                rows['label'] = -1
            else:
                written = np.array([*self._facts.numbers, -1], dtype=np.int64)
                rows['label'] = written[tracks.label[known]]
            self._file.write(rows.tobytes())
            # A full disk shows here, not at the end of a long video.
            self._file.flush()

    def finish(self, complete: bool) -> Path | None:
        """Complete the file."""
        if self._file is None:
            return None
        target = final_path(self.path, complete)
        try:
            with _explained(self.path):
                rows: np.ndarray = np.zeros(0, _row_of_embeddings(0))
                if self._row is not None:
                    rows = np.memmap(self._growing, self._row, 'r')
                found = {name: rows[name] for name in rows.dtype.names or ()}
                TrackEmbeddings(**found).save(target)
        finally:
            self.discard()
        return target


def _row_of_embeddings(channels: int) -> np.dtype:
    """A row of a file of embeddings while it grows."""
    numbers = [(name, np.int64) for name in ('frame', 'identity', 'label')]
    return np.dtype([*numbers, ('embeddings', np.float32, (channels,))])


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Name the file in errors."""
    try:
        yield
    except OSError as error:
        full = ': the disk is full' if error.errno == errno.ENOSPC else ''
        raise OSError(
            error.errno,
            f'cannot write the tracks{full} ({error.strerror})',
            str(path),
        ) from None


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _frame_as_json(frame: TrackedFrame, classes: Sequence[str]) -> str:
    """Write a frame and its tracks on one line."""
    found = frame.tracks.rounded()
    columns = found.identity, found.xywh, found.score, found.label
    tracks = [
        dict(
            id=identity,
            box=box,
            score=score,
            label=label,
            category=class_name(classes, label),
        )
        for identity, box, score, label in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]
    return json.dumps(
        dict(frame=frame.number, time=_rounded_time(frame), tracks=tracks)
    )


def _rounded_time(frame: TrackedFrame) -> float | None:
    """Seconds since the first frame, to the microsecond."""
    return None if frame.time is None else round(float(frame.time), TIME_DECIMALS)


def final_path(path: Path, complete: bool) -> Path:
    """Name a result: one that is not whole says so."""
    return path if complete else path.with_name(f'{path.stem}.partial{path.suffix}')


def plan_outputs(
    out: str | os.PathLike | Sequence[str | os.PathLike] | None,
    facts: VideoFacts,
    style: TrackStyle,
    caption: bool,
    video: VideoOptions | None = None,
) -> list[TrackOutput]:
    """Choose what is written by the suffixes of the names.

    Args:
        out: Files: a video (mp4, m4v, mov, mkv, avi, webm), MOTChallenge text
            (txt), JSON (json), JSON lines (jsonl), CSV (csv), embeddings (npz).
        facts: About the video.
        style: How tracks are drawn.
        caption: Write number and speed into the video.
        video: How videos are encoded.

    Returns:
        The outputs; nothing is opened yet.

    Raises:
        ValueError: If a suffix is unknown or two names are the same.
        OSError: If a folder cannot be written to.
    """
    if out is None:
        return []
    paths = [Path(p) for p in ([out] if isinstance(out, str | os.PathLike) else out)]
    if len({path.absolute() for path in paths}) < len(paths):
        raise ValueError('out: one file is named twice')
    outputs: list[TrackOutput] = []
    for path in paths:
        suffix = path.suffix.lower()
        if suffix in VIDEO_SUFFIXES:
            options = video or VideoOptions()
            outputs.append(AnnotatedVideo(path, facts, style, caption, options))
        elif suffix == '.txt':
            outputs.append(MOTText(path, facts))
        elif suffix == '.json':
            outputs.append(TrackJSON(path, facts))
        elif suffix == '.jsonl':
            outputs.append(TrackJSONLines(path, facts))
        elif suffix == '.csv':
            outputs.append(TrackCSV(path, facts))
        elif suffix == SUFFIX:
            outputs.append(EmbeddingFile(path, facts))
        else:
            known = *VIDEO_SUFFIXES, '.txt', '.json', '.jsonl', '.csv', SUFFIX
            raise ValueError(
                f'out: cannot tell what to write to {path}, expected one of '
                f'{", ".join(known)}'
            )
        check_folder(path)
    return outputs


def plan_counts(
    path: str | os.PathLike | None,
    facts: VideoFacts,
    counter: ObjectCounter | None,
    others: Sequence[TrackOutput] = (),
) -> list[TrackOutput]:
    """Choose what is written of what is counted.

    Args:
        path: CSV file; None for nothing.
        facts: About the video.
        counter: What counts.
        others: What else is written.

    Raises:
        ValueError: If nothing is counted, or the file is no CSV or another output.
        OSError: If the folder cannot be written to.
    """
    if path is None:
        return []
    path = Path(path)
    if counter is None:
        raise ValueError(f'counts: found {path}, but no counter')
    if path.suffix.lower() != '.csv':
        raise ValueError(f'counts: found {path}, expected FILE.csv')
    if path.absolute() in [output.path.absolute() for output in others]:
        raise ValueError(f'counts: {path} is written already, expected another name')
    check_folder(path)
    return [CountCSV(path, facts, counter)]
