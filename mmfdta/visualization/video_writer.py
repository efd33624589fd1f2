# Copyright (c) mmfdta authors.
"""Writes videos that are whole or not there."""

import contextlib
import errno
import importlib.util
import logging
import numbers
import os
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from mmfdta.utils.logs import say

VIDEO_SUFFIXES = ('.mp4', '.m4v', '.mov', '.mkv', '.avi', '.webm')
# What OpenCV writes where PyAV is not installed; its wheels cannot encode H.264.
_OPENCV_CODECS = {
    '.mp4': ('avc1', 'mp4v'),
    '.m4v': ('avc1', 'mp4v'),
    '.mov': ('avc1', 'mp4v'),
    '.mkv': ('avc1', 'mp4v'),
    '.avi': ('mp4v', 'MJPG'),
    '.webm': ('VP80', 'VP90'),
}
# Rate factors: the best, the worst and the usual one. The best of H.264 is 0, without
# loss, which browsers do not play; MPEG-4 in avi has none.
_H264_FACTORS, _VP9_FACTORS = (1, 51, 23), (0, 63, 32)
# OpenCV tells of no failed write: the disk is looked at every so many frames.
_FRAMES_BETWEEN_CHECKS = 64
_LEAST_FREE_BYTES = 1 << 20
# Frames that a time may be off before it is said that OpenCV keeps none.
_MOST_FRAMES_OFF = 2
_MOST_STEM_BYTES = 200
_SILENT = 0  # OpenCV's log level
# Rates such as 30000/1001 are found again in a float.
_MOST_RATE_PARTS = 1001
_LOWEST_RATE, _HIGHEST_RATE = 0.001, 1000


class VideoWriter:
    """A video under a temporary name, renamed when it is finished.

    As a context manager it finishes, or discards the video after an error.

    PyAV writes: H.264 that browsers play, VP9 in webm, MPEG-4 in avi; see
    :class:`PyAVEncoder`. Time stamps are kept to the unit of the container: exactly in
    mp4, m4v and mov, to the millisecond in mkv and webm, to the next frame of the rate
    in avi. H.264 has even sizes: the last column or row is repeated where one lacks.
    Frames of another size than the first are scaled into it, with black bars.

    Where PyAV is not installed, OpenCV writes what its build can encode, at a constant
    rate and without audio.

    Args:
        path: Where the video will stand; the suffix, one
            of mp4, m4v, mov, mkv, avi and webm, decides the container.
        frame_rate: Frames per second: those of frames without a time, and how long the
            last one is seen.
        time_base: Unit of the times, seconds, such as that of the source's time stamps;
            None: one that fits the rate.
        crf: Constant rate factor of H.264 (1 to 51; None: 23) or VP9 (0 to 63; None:
            32); less is better and larger.
        pixel_aspect: Width of a pixel by its height; webm does not keep it.
        audio_from: A video file whose audio is kept; copied where the container takes
            it, else encoded again. It ends with the last frame.
        audio_start: Time stamp of the first frame in that file, seconds.

    Attributes:
        num_frames: Frames written so far.
        audio_start: As given; it may be set until the first frame is written.

    Raises:
        ValueError: If the suffix is another, the rate is not 0.001 to 1000, or the rate
            factor is none of the encoder's.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        frame_rate: Fraction | float,
        *,
        time_base: Fraction | None = None,
        crf: int | None = None,
        pixel_aspect: Fraction = Fraction(1),
        audio_from: str | os.PathLike | None = None,
        audio_start: Fraction | float = 0,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in VIDEO_SUFFIXES:
            raise ValueError(
                f'{path}: cannot write a {self.path.suffix or "file without suffix"}, '
                f'expected one of {", ".join(VIDEO_SUFFIXES)}'
            )
        if not (
            isinstance(frame_rate, numbers.Real)
            and _LOWEST_RATE <= frame_rate <= _HIGHEST_RATE
        ):
            raise ValueError(
                f'{path}: found a frame rate of {frame_rate}, expected '
                f'{_LOWEST_RATE} to {_HIGHEST_RATE} frames per second'
            )
        self.frame_rate = _exact(frame_rate).limit_denominator(_MOST_RATE_PARTS)
        self.num_frames = 0
        self.audio_start = audio_start
        self._time_base = None if time_base is None else _exact(time_base)
        self._crf = self._check_factor(crf)
        self._pixel_aspect = _exact(pixel_aspect)
        self._audio_from = None if audio_from is None else os.fspath(audio_from)
        self._encoder: Encoder | None = None
        self._size = (0, 0)
        self._first = Fraction(0)
        self._last = Fraction(0)
        self._scaled = False
        self._temporary = temporary_path(self.path)

    def __enter__(self) -> 'VideoWriter':
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.discard()

    def write(self, image: np.ndarray, time: Fraction | float | None = None) -> None:
        """Append a frame.

        Args:
            image: uint8 (H, W, 3) BGR.
            time: Its time stamp, seconds, after that of the frame before; None: one
                frame of the rate later. The video begins with its first frame.

        Raises:
            ValueError: If it is no such image, or an option does not fit.
            OSError: If the disk is full or no encoder works.
        """
        found = f'{getattr(image, "dtype", type(image).__name__)} {np.shape(image)}'
        if not found.startswith('uint8 ') or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f'{self.path}: frame {self.num_frames + 1} is {found}, expected uint8 '
                '(H, W, 3)'
            )
        size = image.shape[1], image.shape[0]
        if time is not None:
            self._last = _exact(time)
        elif self._encoder is not None:
            self._last += 1 / self.frame_rate
        if self._encoder is None:
            self._size = size
            self._first = self._last
            self._encoder = self._open()
        if size != self._size:
            self._say_scaled(size)
            image = fit_into(image, self._size)
        with self._explained('write'):
            self._encoder.write(np.ascontiguousarray(image), self._last - self._first)
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
        if self._encoder is None:
            return None
        target = Path(path or self.path)
        try:
            with self._explained('complete'):
                self._encoder.close()
                os.replace(self._temporary, target)
        except BaseException:
            self.discard()
            raise
        self._encoder = None
        return target

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._encoder is not None:
            self._encoder.abandon()
            self._encoder = None
        self._temporary.unlink(missing_ok=True)

    def _check_factor(self, crf: int | None) -> int | None:
        """Return the rate factor, the usual one for None; None for avi."""
        if self.path.suffix.lower() == '.avi':
            if crf is not None:
                raise ValueError(
                    f'{self.path}: avi is written as MPEG-4, which has no rate factor; '
                    'leave crf out or write mp4, mov, mkv or webm'
                )
            return None
        is_vp9 = self.path.suffix.lower() == '.webm'
        best, worst, usual = _VP9_FACTORS if is_vp9 else _H264_FACTORS
        if crf is not None and not best <= crf <= worst:
            raise ValueError(
                f'{self.path}: found crf {crf}, expected {best} (best) to {worst}'
            )
        return usual if crf is None else crf

    def _open(self) -> 'Encoder':
        check_folder(self.path)
        try:
            with self._explained('begin'):
                if importlib.util.find_spec('av') is None:
                    if self._audio_from is not None:
                        say(
                            f'{self.path}: written without audio: that takes PyAV (pip '
                            'install av)',
                            logging.WARNING,
                        )
                    return OpenCVEncoder(self._temporary, self._size, self.frame_rate)
                from .pyav_encoding import PyAVEncoder

                return PyAVEncoder(
                    self._temporary,
                    self._size,
                    self.frame_rate,
                    self._time_base,
                    self._crf,
                    self._pixel_aspect,
                    self._audio_from,
                    _exact(self.audio_start),
                )
        except BaseException:
            self._temporary.unlink(missing_ok=True)
            raise

    def _say_scaled(self, size: tuple[int, int]) -> None:
        if not self._scaled:
            self._scaled = True
            say(
                f'{self.path}: frame {self.num_frames + 1} is {size[0]}x{size[1]}, the '
                f'first is {self._size[0]}x{self._size[1]}: such frames are scaled in '
                'the video; tracks stay in pixels of their own frame',
                logging.WARNING,
            )

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Name the video in errors, and not its temporary file."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            if error.errno == errno.ENOSPC:
                reason = f'the disk is full after {self.num_frames} frames'
            raise OSError(
                error.errno or errno.EIO,
                f'cannot {what} the video ({reason})',
                str(self.path),
            ) from None


class Encoder(Protocol):
    """What writes the frames of a video into a file."""

    def write(self, image: np.ndarray, time: Fraction) -> None:
        """Encode a frame of the first one's size, seen from a time, seconds."""

    def close(self) -> None:
        """Complete the file."""

    def abandon(self) -> None:
        """Let go of the file, whole or not."""


class OpenCVEncoder:
    """OpenCV's encoder: constant rate, no audio, and what its build can encode.

    Args:
        path: The file.
        size: Width and height of the frames.
        frame_rate: Frames per second.

    Raises:
        OSError: If nothing can be encoded, or the disk is full.
    """

    def __init__(self, path: Path, size: tuple[int, int], frame_rate: Fraction) -> None:
        self._path = path
        self._rate = frame_rate
        self._num_frames = 0
        self._uneven = False
        self._check_disk()  # or the encoder would be blamed
        codecs = _OPENCV_CODECS[path.suffix.lower()]
        for codec in codecs:
            with silent_opencv():
                self._writer = cv2.VideoWriter(
                    str(path), cv2.VideoWriter.fourcc(*codec), float(frame_rate), size
                )
            if self._writer.isOpened():
                return
        raise OSError(
            errno.ENOSYS,
            f'OpenCV can encode none of {", ".join(codecs)} at {size[0]}x{size[1]}; '
            f'install PyAV (pip install av) or write another format '
            f'({", ".join(VIDEO_SUFFIXES)})',
        )

    def write(self, image: np.ndarray, time: Fraction) -> None:
        """Encode a frame; its time is not kept."""
        if self._num_frames % _FRAMES_BETWEEN_CHECKS == 0:
            self._check_disk()
        ahead = abs(time * self._rate - self._num_frames)
        if ahead > _MOST_FRAMES_OFF and not self._uneven:
            self._uneven = True
            say(
                f'The frames do not come at {float(self._rate):g} '
                'per second, but OpenCV writes them so; PyAV keeps their times (pip '
                'install av)',
                logging.WARNING,
            )
        self._writer.write(image)
        self._num_frames += 1

    def close(self) -> None:
        """Complete the file, and compare it with what was written.

        Raises:
            OSError: If frames lack in it.
        """
        self._writer.release()
        reader = cv2.VideoCapture(str(self._path))
        found = int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) if reader.isOpened() else 0
        reader.release()
        if found < self._num_frames:
            raise OSError(
                errno.EIO,
                f'only {found} of {self._num_frames} frames were stored. '
                'Is the disk full?',
            )

    def abandon(self) -> None:
        """Let go of the file, whole or not."""
        self._writer.release()

    def _check_disk(self) -> None:
        if shutil.disk_usage(self._path.parent).free < _LEAST_FREE_BYTES:
            raise OSError(errno.ENOSPC, 'the disk is full')


def _exact(number: Fraction | float) -> Fraction:
    """Take over a number of any type, NumPy's and PyAV's too."""
    if isinstance(number, numbers.Rational):
        return Fraction(number.numerator, number.denominator)
    return Fraction(float(number))


def fit_into(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale an image into a size, with black bars where the shape is another.

    Args:
        image: uint8 (H, W, 3).
        size: Width and height.

    Returns:
        uint8 of that size.
    """
    height, width = image.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    framed = np.zeros((size[1], size[0], 3), np.uint8)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    framed[top : top + inner[1], left : left + inner[0]] = cv2.resize(
        image, inner, interpolation=way
    )
    return framed


def temporary_path(path: Path) -> Path:
    """Name the file that becomes ``path``: a dot first, the same suffix."""
    # File systems take 255 bytes.
    stem = os.fsdecode(os.fsencode(path.stem)[:_MOST_STEM_BYTES])
    return path.with_name(f'.{stem}.{os.getpid()}{path.suffix}')


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
