# Copyright (c) mmfdta authors.
"""Videos and streams, through PyAV."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame

from .base import FrameSource, SourceFrame, SourceOptions


class VideoSource(FrameSource):
    """A video file or stream.

    Args:
        target: Its path or address.
        name: What messages call it.
        options: How it is read.

    Raises:
        OSError: If it cannot be opened.
    """

    def __init__(self, target: str, name: str, options: SourceOptions) -> None:
        self._options = options
        try:
            self._container = av.open(target, metadata_errors='replace')
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, 'strerror', None) or type(error).__name__
            raise OSError(f'{name}: cannot open it ({reason})') from None
        if not self._container.streams.video:
            self._container.close()
            raise OSError(f'{name}: there is no video in it')
        self._stream = stream = self._container.streams.video[0]
        stream.thread_type = 'AUTO'
        rate = stream.average_rate or stream.guessed_rate
        super().__init__(
            name,
            frame_rate=rate if rate and 0 < rate <= 1000 else None,
            num_frames=stream.frames or None,
            live='://' in target,
        )

    def __iter__(self) -> Iterator[SourceFrame]:
        """Yield the frames.

        Raises:
            OSError: If not even the first frame can be decoded.
        """
        number = 0
        first: int | None = None
        packets = 0
        try:
            for packet in self._container.demux(self._stream):
                packets += packet.size > 0
                try:
                    decoded = packet.decode()
                except av.FFmpegError:
                    if self._options.skip_broken:
                        self.skipped += 1
                        number += 1
                        continue
                    self.problem = f'{self.name}: broken after {number} frames'
                    break
                for frame in decoded:
                    number += 1
                    first = frame.pts if first is None else first
                    time = None
                    if frame.pts is not None and first is not None:
                        time = (frame.pts - first) * Fraction(
                            self._stream.time_base or 0
                        )
                    yield SourceFrame(number, upright(frame), time)
                if self._closed.is_set():
                    return
        finally:
            self._container.close()
        if not number:
            raise OSError(f'{self.name}: not one frame can be decoded')
        announced = self._stream.frames
        if self.problem is None and announced > packets + max(2, announced // 100):
            self.problem = (
                f'{self.name}: the video announces {announced} frames, but ends '
                f'after {packets}. Was it cut off?'
            )


def upright(frame: VideoFrame) -> np.ndarray:
    """Turn a decoded frame as its display matrix says; uint8 (H, W, 3) BGR."""
    image = np.asarray(frame.to_ndarray(format='bgr24'), dtype=np.uint8)
    matrix: Any = frame.side_data.get('DISPLAYMATRIX')
    if matrix is None:
        return image
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    # x' = a x + c y and y' = b x + d y.
    if abs(b) + abs(c) > abs(a) + abs(d):
        image = np.asarray(cv2.transpose(image), dtype=np.uint8)
        a, d = c, b
    if a < 0 or d < 0:
        code = -1 if a < 0 and d < 0 else int(a < 0)
        image = np.asarray(cv2.flip(image, code), dtype=np.uint8)
    return image
