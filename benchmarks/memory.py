# Copyright (c) mmfdta authors.
"""Memory of this process and of others, MiB. Linux only."""

import ctypes
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

_POLL_SECONDS = 0.1


def peak_growth(run: Callable[[], object]) -> float:
    """Peak memory of a run beyond that before it, MiB."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path('/proc/self/clear_refs').write_text('5')  # forget the peak so far
    before = resident_memory()
    run()
    return _status('VmHWM') - before


def resident_memory() -> float:
    """Memory that this process takes now, MiB."""
    return _status('VmRSS')


def _status(field: str) -> float:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(x.split()[1]) / 1024 for x in lines if x.startswith(field))


def process_memory(pid: int, below: bool = True) -> np.ndarray:
    """Memory of a process: anonymous, and with files; and of all below it."""
    total, waiting = np.zeros(2), [pid]
    while waiting:
        process = Path('/proc', str(waiting.pop()))
        try:
            text = (process / 'smaps_rollup').read_text()
            sizes = dict(line.split(':') for line in text.splitlines()[1:])
            for task in (process / 'task').iterdir() if below else ():
                waiting += map(int, (task / 'children').read_text().split())
        except OSError:  # it ended meanwhile
            continue
        total += [int(sizes[name].split()[0]) for name in ('Pss_Anon', 'Pss')]
    return total / 1024


def peak_of_children(run: Callable[[], object]) -> float:
    """Peak memory of the processes that are started meanwhile, all together."""
    pid, peak, over = os.getpid(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(_POLL_SECONDS):
            both, own = process_memory(pid)[1], process_memory(pid, below=False)[1]
            peak = max(peak, both - own)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run()
    finally:
        over.set()
        watcher.join()
    return peak
