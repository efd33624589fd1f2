# Copyright (c) mmfdta authors.
"""How far a long work is, on one line."""

import sys
import time
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
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
        unit: What is counted.
        title: What the line begins with.
    """

    def __init__(
        self,
        total: int | None,
        file: TextIO | None = None,
        unit: str = 'frames',
        title: str = '',
    ) -> None:
        self.total = total
        self.file = sys.stderr if file is None else file
        self.unit = unit
        self.title = title
        self.done = 0
        self._start = self._shown = time.perf_counter()
        self._bar: Bar | None = None
        if self.file.isatty():
            self._bar = Bar(
                *([TextColumn('{task.description}')] if title else []),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(unit),
                TimeRemainingColumn(),
                TextColumn('{task.fields[speed]}'),
                console=Console(file=self.file),
            )
            self._task = self._bar.add_task(title, total=total, speed='')
            self._bar.start()

    def __enter__(self) -> 'Progress':
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def update(self, speed: float | None = None) -> None:
        """Count one more.

        Args:
            speed: How many per second at the moment; None takes the mean.
        """
        self.done += 1
        speed = self._mean_speed() if speed is None else speed
        if self._bar is not None:
            self._bar.update(self._task, advance=1, speed=self._rate(speed))
        elif time.perf_counter() - self._shown >= _LOG_SECONDS:
            self._shown = time.perf_counter()
            self._write_line(speed)

    def close(self) -> None:
        """Show the end, with the mean speed, and leave the line."""
        speed = self._mean_speed()
        if self._bar is None:
            self._write_line(speed)
        else:
            self._bar.update(self._task, speed=self._rate(speed))
            self._bar.stop()

    def _mean_speed(self) -> float:
        return self.done / max(time.perf_counter() - self._start, 1e-9)

    def _rate(self, speed: float) -> str:
        return f'{speed:.1f} ' + ('FPS' if self.unit == 'frames' else f'{self.unit}/s')

    def _write_line(self, speed: float) -> None:
        text = f'{self.done} {self.unit}'
        if self.total:
            share = min(1.0, self.done / self.total)
            left = round(max(0, self.total - self.done) / max(speed, 1e-9))
            minutes, seconds = divmod(left, 60)
            text = (
                f'{self.done}/{self.total} {self.unit}  {share:4.0%}  '
                f'{minutes}:{seconds:02} left'
            )
        head = f'{self.title}: ' if self.title else ''
        self.file.write(f'{head}{text}  {self._rate(speed)}\n')
        self.file.flush()
