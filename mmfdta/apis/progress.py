# Copyright (c) mmfdta authors.
"""How far a long work is, on one line."""

import sys
import time
from typing import TextIO

_BAR = 24
_TERMINAL_SECONDS = 0.2
_LOG_SECONDS = 10.0


class Progress:
    """A line with a bar, a count and a speed.

    On a terminal the line is rewritten; in a log file a line appears every ten
    seconds.

    Args:
        total (int | None): Frames in all, None if unknown.
        file (TextIO | None): Where to write; standard error if None.
        unit (str): What is counted.
    """

    def __init__(
        self, total: int | None, file: TextIO | None = None, unit: str = 'frames'
    ) -> None:
        self.total = total
        self.file = sys.stderr if file is None else file
        self.unit = unit
        self.done = 0
        self._start = time.perf_counter()
        self._shown = self._start
        self._terminal = self.file.isatty()

    def update(self, speed: float | None = None) -> None:
        """Count one more.

        Args:
            speed (float | None): How many a second at the moment; None takes the
                mean.
        """
        self.done += 1
        now = time.perf_counter()
        wait = _TERMINAL_SECONDS if self._terminal else _LOG_SECONDS
        if now - self._shown >= wait:
            self._shown = now
            self._show(self._mean_speed() if speed is None else speed)

    def close(self) -> None:
        """Show the end, with the mean speed, and leave the line."""
        self._show(self._mean_speed())
        if self._terminal:
            self.file.write('\n')
            self.file.flush()

    def _mean_speed(self) -> float:
        return self.done / max(time.perf_counter() - self._start, 1e-9)

    def _show(self, speed: float) -> None:
        text = f'{self.done} {self.unit}'
        if self.total:
            share = min(1.0, self.done / self.total)
            bar = ('=' * round(_BAR * share)).ljust(_BAR)
            left = max(0, self.total - self.done) / max(speed, 1e-9)
            text = (
                f'[{bar}] {self.done}/{self.total} {self.unit}  {share:4.0%}  '
                f'{_duration(left)} left'
            )
        rate = 'FPS' if self.unit == 'frames' else f'{self.unit}/s'
        text += f'  {speed:.1f} {rate}'
        self.file.write(f'\r{text:<78}' if self._terminal else f'{text}\n')
        self.file.flush()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
