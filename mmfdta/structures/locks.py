# Copyright (c) mmfdta authors.
"""Locks between processes; the operating system frees them when a process ends."""

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

    Does nothing if the system or the disk has no locks.

    Args:
        descriptor: Descriptor of the open file or folder.
        when_held: Called if another process has the lock. If it returns, the call
            waits until the other process frees it.
        shared: Share the lock with other processes that also ask for a shared one.
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
    """Lock a folder during a ``with`` block.

    Args:
        folder: A folder that exists.
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
