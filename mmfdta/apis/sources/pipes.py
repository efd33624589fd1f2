# Copyright (c) mmfdta authors.
"""A video that comes through standard input or a pipe with a name."""

import contextlib
import select
import sys
import threading
from typing import BinaryIO

_POLL_SECONDS = 0.2


class InputPipe:
    """A pipe for FFmpeg: can be read, not sought, and left while nothing comes.

    Args:
        closed: Set when nobody wants more.
        path: Of a pipe with a name, which waits for its writer; None: standard input.

    Attributes:
        interrupted: Ctrl-C came; FFmpeg, which calls :meth:`read`, lets no error out.

    Raises:
        OSError: If a terminal is at the other end, or the path cannot be opened.
    """

    def __init__(self, closed: threading.Event, path: str | None = None) -> None:
        self.interrupted = False
        self._closed = closed
        self._is_own = path is not None
        self._file: BinaryIO
        if path is not None:
            self._file = open(path, 'rb', buffering=0)  # noqa: SIM115  (see close)
            return
        # Without Python's own buffer, which `select` does not see.
        self._file = getattr(sys.stdin.buffer, 'raw', sys.stdin.buffer)
        if self._file.isatty():
            raise OSError(
                'standard input: found a terminal, expected a video, such as in '
                '`cat dance.mp4 | mmfdta track -`'
            )

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes; nothing at the end."""
        try:
            while not self._closed.is_set():
                # Windows waits for sockets only, and tests' own files have no number.
                with contextlib.suppress(OSError, ValueError):
                    if not select.select([self._file], [], [], _POLL_SECONDS)[0]:
                        continue
                return self._file.read(size) or b''
        except KeyboardInterrupt:
            self.interrupted = True
            self._closed.set()
        return b''

    def close(self) -> None:
        """Let the writer of a pipe with a name know; standard input stays open."""
        if self._is_own:
            self._file.close()
