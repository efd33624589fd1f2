# Copyright (c) mmfdta authors.
"""Limits how long threads that wait for each other spin before they sleep.

OpenMP divides the work of an operator among threads, and a thread that is done waits
for the others. It spins, so that the next operator starts at once, but this occupies a
core, which on a shared machine another thread may need. PyTorch's OpenMP spins for
milliseconds by default. A shorter time is equally fast on an idle machine, and halves
the time of a training step next to a second such job (docs/performance.md).
"""

import os
import sys

SPIN_COUNT = 'GOMP_SPINCOUNT'
"""Variable that GNU's OpenMP, in PyTorch's wheels for Linux, reads on import."""
SHORT = '1000'
# If the user sets one of these variables, nothing is changed.
_SETTINGS = (SPIN_COUNT, 'OMP_WAIT_POLICY', 'KMP_BLOCKTIME')


def bound_spinning() -> None:
    """Let waiting threads spin only for a short time, unless the user sets another.

    Every command calls it before PyTorch is loaded, after which it has no effect;
    processes that a command starts inherit the setting.
    """
    if 'torch' not in sys.modules and not any(map(os.environ.get, _SETTINGS)):
        os.environ[SPIN_COUNT] = SHORT


def describe_waiting() -> str:
    """Return the settings for waiting threads, as text."""
    found = [f'{name}={os.environ[name]}' for name in _SETTINGS if name in os.environ]
    return ', '.join(found) or "OpenMP's default"
