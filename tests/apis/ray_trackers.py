"""Openers of trackers that workers on a cluster find by name."""

import os
import signal
import time
from pathlib import Path

from mmfdta.apis import ExportedTracker

SECONDS = 0.05


def open_plain(folder: str, threads: int) -> ExportedTracker:
    return ExportedTracker(folder, threads=threads)


class SlowTracker(ExportedTracker):
    """Takes its time, so that something can happen meanwhile."""

    def track(self, source, out=None, **options):
        frames = super().track(source, out, **options)
        while True:
            try:
                frame = next(frames)
            except StopIteration as end:
                return end.value
            time.sleep(SECONDS)
            yield frame


def open_slow(folder: str, threads: int) -> SlowTracker:
    return SlowTracker(folder, threads=threads)


class MortalTracker(ExportedTracker):
    """Its process dies at the fifth frame of each video that is called so."""

    def track(self, source, out=None, **options):
        frames = super().track(source, out, **options)
        for number in range(10**6):
            if number == 5 and 'deadly' in Path(source).name:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                yield next(frames)
            except StopIteration as end:
                return end.value


def open_mortal(folder: str, threads: int) -> MortalTracker:
    return MortalTracker(folder, threads=threads)


def open_different(folder: str, threads: int) -> ExportedTracker:
    """The first to come has other thresholds than those after it."""
    try:
        Path(folder, 'first').touch(exist_ok=False)
    except FileExistsError:
        return ExportedTracker(folder, threads=threads, thresholds=dict(det_thr=0.7))
    return ExportedTracker(folder, threads=threads)


def open_dying(folder: str, threads: int) -> ExportedTracker:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
