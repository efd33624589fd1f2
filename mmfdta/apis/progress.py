# Copyright (c) mmfdta authors.
"""How far a long work is, on one line."""

import sys
import time
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

_LOG_SECONDS = 10.0


class Progress:
    """A bar with a count, the time that is left and a speed.

    On a terminal it is a bar of ``rich``; in a log file a line appears every ten
    seconds.

    Args:
        total: How many there are in all, None if unknown.
        file: Where to write; standard error if None.
        unit: What is counted; ``bytes`` are written as megabytes.
        title: What the line begins with.
        done: How many there are already.
    """

    def __init__(
        self,
        total: int | None,
        file: TextIO | None = None,
        unit: str = 'frames',
        title: str = '',
        done: int = 0,
    ) -> None:
        self.total = total
        self.file = sys.stderr if file is None else file
        self.unit = unit
        self.title = title
        self.done = self._before = done
        self._start = self._shown = time.perf_counter()
        self._bar: Bar | None = None
        if self.file.isatty():
            counted = [MofNCompleteColumn(), TextColumn(unit)]
            self._bar = _bar(
                self.file,
                *([TextColumn('{task.description}')] if title else []),
                BarColumn(),
                *([DownloadColumn()] if unit == 'bytes' else counted),
                TimeRemainingColumn(),
                TextColumn('{task.fields[speed]}'),
            )
            self._task = self._bar.add_task(
                title, total=total, completed=done, speed=''
            )
            self._bar.start()

    def __enter__(self) -> 'Progress':
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def update(self, speed: float | None = None, count: int = 1) -> None:
        """Count one more, or several.

        Args:
            speed: How many per second at the moment; None takes the mean.
            count: How many more.
        """
        self.done += count
        speed = self._mean_speed() if speed is None else speed
        if self._bar is not None:
            self._bar.update(self._task, advance=count, speed=self._rate(speed))
        elif time.perf_counter() - self._shown >= _LOG_SECONDS:
            self._shown = time.perf_counter()
            self._write_line(speed)

    def close(self) -> None:
        """Show the end, with the mean speed, and leave the line.

        A log file gets no line if nothing had to be done.
        """
        speed = self._mean_speed()
        if self._bar is None:
            if self.done > self._before:
                self._write_line(speed)
        else:
            self._bar.update(self._task, speed=self._rate(speed))
            self._bar.stop()

    def _mean_speed(self) -> float:
        done = self.done - self._before
        return done / max(time.perf_counter() - self._start, 1e-9)

    def _rate(self, speed: float) -> str:
        if self.unit == 'bytes':
            return f'{say_bytes(speed)}/s'
        if self.unit == 'frames':
            return format_speed(speed)
        return f'{speed:.1f} {self.unit}/s'

    def _write_line(self, speed: float) -> None:
        done, total, unit = f'{self.done}', f'{self.total}', self.unit
        if unit == 'bytes':
            done, unit = f'{self.done / 1e6:.1f}', 'MB'
            total = f'{(self.total or 0) / 1e6:.1f}'
        text = f'{done} {unit}'
        if self.total:
            share = min(1.0, self.done / self.total)
            left = format_seconds(max(0, self.total - self.done) / max(speed, 1e-9))
            text = f'{done}/{total} {unit}  {share:4.0%}  {left} left'
        head = f'{self.title}: ' if self.title else ''
        self.file.write(f'{head}{text}  {self._rate(speed)}\n')
        self.file.flush()


class StatusLine:
    """A line that is written again: on a terminal in place, in a log file now and then.

    Args:
        file: Where to write; standard error if None.
        total: With a bar of so much; None: without one.
        done: How much of it is done.
    """

    def __init__(
        self, file: TextIO | None = None, total: int | None = None, done: int = 0
    ) -> None:
        self._file = sys.stderr if file is None else file
        self._shown = time.perf_counter()
        self._bar: Bar | None = None
        if self._file.isatty():
            self._bar = _bar(
                self._file,
                *([] if total is None else [BarColumn()]),
                TextColumn('{task.description}', markup=False),
            )
            self._task = self._bar.add_task('', total=total, completed=done)
            self._bar.start()

    def show(self, text: object, advance: int = 0) -> None:
        """Write the line, if it is time to.

        Args:
            text: Its ``str`` is written.
            advance: How much more is done.
        """
        if self._bar is not None:
            self._bar.update(self._task, description=str(text), advance=advance)
        elif time.perf_counter() - self._shown >= _LOG_SECONDS:
            self._shown = time.perf_counter()
            self._write(text)

    def close(self, text: object) -> None:
        """Write the line a last time and leave it."""
        if self._bar is None:
            self._write(text)
        else:
            self._bar.update(self._task, description=str(text))
            self._bar.stop()

    def _write(self, text: object) -> None:
        self._file.write(f'{text}\n')
        self._file.flush()


class ArchiveProgress:
    """A line for many videos: how many are done, failed and left, speed, time left.

    Args:
        sizes: Bytes of each video that is to be tracked, which the time that is left is
            estimated by; None where that is not known.
        whole: How many videos of the archive are whole already.
        failed: How many of them have failed and are not tried again.
        file: Where to write; standard error if None.
    """

    def __init__(
        self,
        sizes: Sequence[int | None],
        whole: int = 0,
        failed: int = 0,
        file: TextIO | None = None,
    ) -> None:
        self.whole = whole
        self.failed = failed
        self.left = len(sizes)
        self.frames = 0
        known = [size for size in sizes if size is not None]
        self._usual = sum(known) / len(known) if known else 1.0
        self._bytes_left = sum(map(self._size, sizes))
        self._bytes = 0.0
        self._start = time.perf_counter()
        done = whole + failed
        self._line = StatusLine(file, done + self.left, done)

    def __str__(self) -> str:
        seconds = max(time.perf_counter() - self._start, 1e-9)
        text = f'videos: {self.whole} whole, {self.failed} failed, {self.left} left'
        if self.left and self._bytes:
            text += f', {format_seconds(self._bytes_left * seconds / self._bytes)}'
        return f'{text}  {format_speed(self.frames / seconds)}'

    def add_frame(self, count: int = 1) -> None:
        """Count a frame that was tracked, or several."""
        self.frames += count
        self._line.show(self)

    def end_video(self, size: int | None, failed: bool) -> None:
        """Count a video that has ended.

        Args:
            size: As it was announced.
            failed: It is not whole.
        """
        self.left -= 1
        self.failed += failed
        self.whole += not failed
        self._bytes += self._size(size)
        self._bytes_left -= self._size(size)
        self._line.show(self, advance=1)

    def close(self) -> None:
        """Show the end and leave the line."""
        self._line.close(self)

    def _size(self, size: int | None) -> float:
        return self._usual if size is None else size


def _bar(file: TextIO, *columns: ProgressColumn) -> Bar:
    """Make a bar on a terminal.

    What is printed meanwhile appears above it if standard output is the terminal too,
    and stays in standard output if that is a file or a pipe.
    """
    console = Console(file=file)
    return Bar(*columns, console=console, redirect_stdout=sys.stdout.isatty())


def format_seconds(seconds: float) -> str:
    """Write a time for people, such as 0:07, 12:34 or 3:25:45."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{rest:02}' if hours else f'{minutes}:{rest:02}'


def say_bytes(number: float) -> str:
    """Write a number of bytes for people, in decimal units."""
    for unit in ('bytes', 'kB', 'MB'):
        if number < 1000:
            return f'{number:.0f} {unit}' if unit == 'bytes' else f'{number:.1f} {unit}'
        number /= 1000
    return f'{number:.1f} GB'


def format_speed(frame_rate: float) -> str:
    """Write a speed, as seconds per frame where it is below one frame per second.

    Args:
        frame_rate: Frames per second.
    """
    if 0 < frame_rate < 1:
        return f'{1 / frame_rate:.1f} s/frame'
    return f'{frame_rate:.1f} FPS'
