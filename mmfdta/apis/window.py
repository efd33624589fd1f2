# Copyright (c) mmfdta authors.
"""Frames in a window while they are tracked."""

import functools
import subprocess
import sys

import cv2
import numpy as np

_END_KEYS = (ord('q'), ord('Q'), 27)
_LARGEST = 1280, 960
# OpenCV's Qt ends the whole process where there is no display.
_PROBE = "import cv2; cv2.namedWindow('mmfdta'); cv2.destroyAllWindows()"


class Window:
    """A window of OpenCV; it opens with the first frame.

    Args:
        title: Its title.

    Raises:
        RuntimeError: If no window can be opened here.
    """

    def __init__(self, title: str) -> None:
        check_display()
        self._title = title
        self._open = False

    def show(self, image: np.ndarray) -> bool:
        """Show a frame.

        Args:
            image: uint8 (H, W, 3), BGR.

        Returns:
            False if q or Esc was pressed or the window was closed.
        """
        if not self._open:
            height, width = image.shape[:2]
            scale = min(1.0, _LARGEST[0] / width, _LARGEST[1] / height)
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            size = max(1, round(width * scale)), max(1, round(height * scale))
            cv2.resizeWindow(self._title, *size)
            self._open = True
        cv2.imshow(self._title, image)
        pressed = cv2.waitKey(1) & 0xFF in _END_KEYS
        closed = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
        return not (pressed or closed)

    def close(self) -> None:
        """Close it."""
        if self._open:
            cv2.destroyWindow(self._title)
            cv2.waitKey(1)
            self._open = False


@functools.cache
def check_display() -> None:
    """Try to open a window, in a process of its own.

    Raises:
        RuntimeError: If that is impossible.
    """
    probe = subprocess.run(
        [sys.executable, '-c', _PROBE], capture_output=True, text=True, check=False
    )
    if probe.returncode:
        raise RuntimeError(
            'show: no window can be opened here, without a display or an '
            'OpenCV with windows (opencv-python, not opencv-python-headless); '
            'write a video instead'
        )
