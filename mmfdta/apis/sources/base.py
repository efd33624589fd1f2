# Copyright (c) mmfdta authors.
"""What every source of frames is, says and may be asked for."""

import math
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np


@dataclass(frozen=True)
class SourceFrame:
    """One frame of a source.

    Attributes:
        number: Its place in the source, from 1. Frames that could not be decoded, or
            that a live source left out, leave gaps.
        image: uint8 (H, W, 3) BGR, upright.
        time: Seconds since the first frame by the time stamps of the source, exact
            where a container has them; None if there are none.
    """

    number: int
    image: np.ndarray
    time: Fraction | float | None = None


@dataclass(frozen=True)
class SourceOptions:
    """How sources are read.

    Attributes:
        skip_broken: Go on behind frames that cannot be decoded, instead of ending
            there.
        reconnect: How many times in a row a stream that was lost is tried again; 0
            ends with the stream.
        frame_rate: Frames per second of images, and of videos without time stamps;
            None takes what the source says.
        value_range: The values of 16-bit and float images that become black and white;
            None finds them in the images.

    Raises:
        ValueError: If a value makes no sense.
    """

    skip_broken: bool = False
    reconnect: int = 0
    frame_rate: float | None = None
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.reconnect < 0:
            raise ValueError(
                f'reconnect: found {self.reconnect}, expected 0 or a number of tries'
            )
        rate = self.frame_rate
        if rate is not None and not (math.isfinite(rate) and 0 < rate <= 1000):
            raise ValueError(
                f'frame_rate (--fps): found {rate:g}, expected more than 0, at most '
                '1000 frames per second'
            )
        if self.value_range is not None:
            low, high = self.value_range
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(
                    f'value_range (--value-range): found {low:g} {high:g}, expected '
                    'two numbers, the smaller one first'
                )


class FrameSource:
    """Frames in their order, read once.

    Attributes:
        name: What messages and results call it.
        frame_rate: Frames per second, None if the source does not say it.
        num_frames: About how many there will be, None if unknown; for progress only.
        live: The frames come when they come, and end when they are stopped; a camera
            or a stream.
        time_base: Seconds in which its time stamps count, None if it has none.
        start: The time stamp of the first frame in seconds of the file's own clock,
            once it was read.
        audio_from: What FFmpeg can open once more for the sound; None if there is no
            sound, or no second time.
        pixel_aspect: Width of a pixel in its heights; boxes are in pixels all the same.
        problem: After reading: why the frames ended too early.
        skipped: Frames so far that were in the source, but could not be decoded.
        damaged: Frames so far that are given, but were decoded in part.
    """

    def __init__(
        self,
        name: str,
        frame_rate: Fraction | float | None = None,
        num_frames: int | None = None,
        live: bool = False,
    ) -> None:
        self.name = name
        self.frame_rate = frame_rate
        self.num_frames = num_frames
        self.live = live
        self.time_base: Fraction | None = None
        self.start: Fraction | None = None
        self.audio_from: str | None = None
        self.pixel_aspect = Fraction(1)
        self.problem: str | None = None
        self.skipped = 0
        self.damaged = 0
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[SourceFrame]:
        """Yield the frames."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the file or device; a thread that still reads ends soon."""
        self._closed.set()

    def _say(self, text: str) -> None:
        warnings.warn(f'{self.name}: {text}', stacklevel=3)
