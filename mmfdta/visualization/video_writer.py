# Copyright (c) mmfdta authors.
"""Writes videos that are whole or not there."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

# H.264 plays everywhere, but builds of OpenCV from wheels cannot encode it.
_CODECS = {
    '.mp4': ('avc1', 'mp4v'),
    '.m4v': ('avc1', 'mp4v'),
    '.mov': ('avc1', 'mp4v'),
    '.mkv': ('avc1', 'mp4v'),
    '.avi': ('mp4v', 'MJPG'),
    '.webm': ('VP80', 'VP90'),
}
VIDEO_SUFFIXES = tuple(_CODECS)
# OpenCV tells of no failed write: the disk is looked at every so many frames.
_FRAMES_BETWEEN_CHECKS = 64
_LEAST_FREE_BYTES = 1 << 20
_SILENT = 0  # OpenCV's log level


class VideoWriter:
    """A video under a temporary name, renamed when it is finished.

    As a context manager it finishes, or discards the video after an error.

    Args:
        path: Where the video will stand; the suffix, one
            of mp4, m4v, mov, mkv, avi and webm, decides the container.
        frame_rate: Frames per second.

    Raises:
        ValueError: If the suffix is another.
        OSError: If the folder cannot be written to.
    """

    def __init__(self, path: str | os.PathLike, frame_rate: float) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in _CODECS:
            raise ValueError(
                f'{path}: cannot write a {self.path.suffix or "file without suffix"}, '
                f'expected one of {", ".join(VIDEO_SUFFIXES)}'
            )
        self.frame_rate = frame_rate
        self.num_frames = 0
        self._writer: cv2.VideoWriter | None = None
        self._shape: tuple[int, ...] = ()
        self._temporary = temporary_path(self.path)

    def __enter__(self) -> 'VideoWriter':
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.discard()

    def write(self, image: np.ndarray) -> None:
        """Append a frame.

        Args:
            image: uint8 (H, W, 3) BGR, of the first frame's size.

        Raises:
            ValueError: If the size is another.
            OSError: If the disk is full or no encoder works.
        """
        if self._writer is None:
            self._shape = image.shape
            self._writer = self._open(image.shape[1], image.shape[0])
        if image.shape != self._shape:
            raise ValueError(
                f'{self.path}: frame {self.num_frames + 1} is '
                f'{image.shape[1]}x{image.shape[0]}, expected '
                f'{self._shape[1]}x{self._shape[0]} as the first: a video has one '
                'size. Write text or JSON instead'
            )
        if self.num_frames % _FRAMES_BETWEEN_CHECKS == 0:
            self._check_disk()
        self._writer.write(image)
        self.num_frames += 1

    def finish(self, path: str | os.PathLike | None = None) -> Path | None:
        """Complete the file and give it its name.

        Args:
            path: Another name than planned.

        Returns:
            The video; None if there was no frame.

        Raises:
            OSError: If the file is not whole; what stood under the name before
                is untouched.
        """
        if self._writer is None:
            return None
        self._writer.release()
        self._writer = None
        target = Path(path or self.path)
        try:
            self._check_whole()
            os.replace(self._temporary, target)
        except BaseException:
            self.discard()
            raise
        return target

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        self._temporary.unlink(missing_ok=True)

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        check_folder(self.path)
        self._check_disk()  # or the encoder would be blamed
        size = (width, height)
        codecs = _CODECS[self.path.suffix.lower()]
        for codec in codecs:
            with silent_opencv():
                writer = cv2.VideoWriter(
                    str(self._temporary),
                    cv2.VideoWriter.fourcc(*codec),
                    self.frame_rate,
                    size,
                )
            if writer.isOpened():
                return writer
        self._temporary.unlink(missing_ok=True)
        raise OSError(
            f'{self.path}: OpenCV can encode none of {", ".join(codecs)} at '
            f'{width}x{height}; write another format ({", ".join(VIDEO_SUFFIXES)})'
        )

    def _check_disk(self) -> None:
        if shutil.disk_usage(self._temporary.parent).free < _LEAST_FREE_BYTES:
            raise OSError(
                errno.ENOSPC,
                f'the disk is full after {self.num_frames} frames of video',
                str(self.path),
            )

    def _check_whole(self) -> None:
        """Compare what the file says of itself with what was written."""
        reader = cv2.VideoCapture(str(self._temporary))
        found = int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) if reader.isOpened() else 0
        reader.release()
        if found < self.num_frames:
            raise OSError(
                errno.EIO,
                f'the video is not whole: {found} of {self.num_frames} frames were '
                'stored. Is the disk full?',
                str(self.path),
            )


def temporary_path(path: Path) -> Path:
    """Name the file that becomes ``path``: a dot first, the same suffix."""
    return path.with_name(f'.{path.stem}.{os.getpid()}{path.suffix}')


def check_folder(path: Path) -> None:
    """Make the folder of a file that is to be written.

    Raises:
        OSError: If that is impossible; the message names the folder.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno, f'cannot make the folder ({error.strerror})', str(path.parent)
        ) from None
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(
            errno.EACCES, 'cannot write into the folder', str(path.parent)
        )
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, 'is a folder; name a file', str(path))


@contextlib.contextmanager
def silent_opencv() -> Iterator[None]:
    """Keep OpenCV from printing what the caller reports itself."""
    # OpenCV 5 moved the two functions.
    log = getattr(cv2.utils, 'logging', cv2)
    level = log.getLogLevel()
    log.setLogLevel(_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(level)
