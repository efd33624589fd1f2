# Copyright (c) mmfdta authors.
"""How far a long work is, on one line."""

import sys
import time
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
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
            self._bar = Bar(
                *([TextColumn('{task.description}')] if title else []),
                BarColumn(),
                *([DownloadColumn()] if unit == 'bytes' else counted),
                TimeRemainingColumn(),
                TextColumn('{task.fields[speed]}'),
                console=Console(file=self.file),
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
            left = round(max(0, self.total - self.done) / max(speed, 1e-9))
            minutes, seconds = divmod(left, 60)
            text = f'{done}/{total} {unit}  {share:4.0%}  {minutes}:{seconds:02} left'
        head = f'{self.title}: ' if self.title else ''
        self.file.write(f'{head}{text}  {self._rate(speed)}\n')
        self.file.flush()


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
