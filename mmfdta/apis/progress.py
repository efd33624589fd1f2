# Copyright (c) mmfdta authors.
"""How far a long work is, on one line."""

import sys
import time
from typing import TextIO

_BAR = 24
_TERMINAL_SECONDS = 0.2
_LOG_SECONDS = 10.0


class Progress:
    """A line with a bar, frames and frames per second.

    On a terminal the line is rewritten; in a log file a line appears every ten
    seconds.

    Args:
        total (int | None): Frames in all, None if unknown.
        file (TextIO | None): Where to write; standard error if None.
    """

    def __init__(self, total: int | None, file: TextIO | None = None) -> None:
        self.total = total
        self.file = sys.stderr if file is None else file
        self.done = 0
        self._start = time.perf_counter()
        self._shown = self._start
        self._terminal = self.file.isatty()

    def update(self, fps: float) -> None:
        """Count a frame.

        Args:
            fps (float): Frames per second at the moment.
        """
        self.done += 1
        now = time.perf_counter()
        wait = _TERMINAL_SECONDS if self._terminal else _LOG_SECONDS
        if now - self._shown >= wait:
            self._shown = now
            self._show(fps)

    def close(self) -> None:
        """Show the end, with the mean speed, and leave the line."""
        self._show(self.done / max(time.perf_counter() - self._start, 1e-9))
        if self._terminal:
            self.file.write('\n')
            self.file.flush()

    def _show(self, fps: float) -> None:
        text = f'{self.done} frames'
        if self.total:
            share = min(1.0, self.done / self.total)
            bar = ('=' * round(_BAR * share)).ljust(_BAR)
            left = max(0, self.total - self.done) / max(fps, 1e-9)
            text = (
                f'[{bar}] {self.done}/{self.total} frames  {share:4.0%}  '
                f'{_duration(left)} left'
            )
        text += f'  {fps:.1f} FPS'
        self.file.write(f'\r{text:<78}' if self._terminal else f'{text}\n')
        self.file.flush()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
