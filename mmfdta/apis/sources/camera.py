# Copyright (c) mmfdta authors.
"""Cameras of this machine, through OpenCV: the only portable way to them."""

import math
import time
from collections.abc import Iterator

import cv2

from mmfdta.visualization.video_writer import silent_opencv

from .base import FrameSource, SourceFrame


class CameraSource(FrameSource):
    """A camera.

    Args:
        device: Its index, or the path of the device.
        name: What messages call it.

    Raises:
        OSError: If it cannot be opened.
    """

    def __init__(self, device: int | str, name: str) -> None:
        with silent_opencv():
            self._capture = cv2.VideoCapture(device)
        if not self._capture.isOpened():
            raise OSError(
                f'{name}: OpenCV cannot open it. Is the camera connected and on, and '
                'does no other program use it?'
            )
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        known = math.isfinite(rate) and 0 < rate <= 1000
        super().__init__(name, frame_rate=rate if known else None, live=True)

    def __iter__(self) -> Iterator[SourceFrame]:
        """Yield the frames; their times are those of the clock.

        Raises:
            OSError: If not even the first frame comes.
        """
        number, start = 0, 0.0
        try:
            while not self._closed.is_set():
                ok, image = self._capture.read()
                if not ok:
                    break
                now = time.monotonic()
                start = start or now
                number += 1
                yield SourceFrame(number, image, now - start)
        finally:
            self._capture.release()
        if not number:
            raise OSError(f'{self.name}: not one frame comes from it')
        self.problem = f'{self.name}: the camera ended after {number} frames'
