# Copyright (c) mmfdta authors.
"""Locks between processes, which the operating system forgets when one ends."""

import contextlib
import os
from collections.abc import Callable, Iterator

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def lock(
    descriptor: int, when_held: Callable[[], object], shared: bool = False
) -> None:
    """Lock an open file or folder until it is closed, however its process ends.

    Where the system or the disk has no locks, nothing happens.

    Args:
        descriptor: Of the open file or folder.
        when_held: Called if another process has it. If this returns, the call waits
            until the other process lets go.
        shared: Let other processes have it that ask for it shared, too.
    """
    if fcntl is None:
        return
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        when_held()
        fcntl.flock(descriptor, kind)
    except OSError:  # a disk without locks
        pass


@contextlib.contextmanager
def hold_folder(
    folder: str | os.PathLike, when_held: Callable[[], object], shared: bool = False
) -> Iterator[None]:
    """Lock a folder for the time of a block.

    Args:
        folder: It is there.
        when_held: See :func:`lock`.
        shared: See :func:`lock`.
    """
    if fcntl is None:  # nor does Windows open folders
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        lock(descriptor, when_held, shared)
        yield
    finally:
        os.close(descriptor)
