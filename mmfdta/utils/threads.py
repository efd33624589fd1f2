# Copyright (c) mmfdta authors.
"""How long threads that wait for each other spin before they sleep.

OpenMP shares the work of an operator among threads, and the first that is ready waits
for the others. It spins, so that the next operator starts at once, and takes a core
meanwhile: on a shared machine often the one that the others wait for. PyTorch's OpenMP
spins for milliseconds by default. A short while is as fast alone, and beside a second
such job a training step takes half the time (docs/performance.md).
"""

import os
import sys

SPIN_COUNT = 'GOMP_SPINCOUNT'
"""GNU's OpenMP, in PyTorch's wheels for Linux, reads it when PyTorch is loaded."""
SHORT = '1000'
# What says the same; whoever sets one of them is asked no more.
_SETTINGS = (SPIN_COUNT, 'OMP_WAIT_POLICY', 'KMP_BLOCKTIME')


def bound_spinning() -> None:
    """Let waiting threads spin for a short while only, unless the user says else.

    Every command calls it before PyTorch is loaded; processes that it starts inherit
    the setting. Afterwards it has no effect.
    """
    if 'torch' not in sys.modules and not any(map(os.environ.get, _SETTINGS)):
        os.environ[SPIN_COUNT] = SHORT


def describe_waiting() -> str:
    """Say which settings hold for waiting threads."""
    found = [f'{name}={os.environ[name]}' for name in _SETTINGS if name in os.environ]
    return ', '.join(found) or 'as OpenMP has it'
