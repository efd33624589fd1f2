# Copyright (c) mmfdta authors.
"""Tiny videos and images whose frames tell by their grey which one they are."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mmfdta.apis.sources import FrameSource, SourceOptions, open_source

STEP = 10


def picture(index: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """A grey that tells the index (modulo 24), white in the upper left; RGB."""
    image = np.full((size[1], size[0], 3), STEP * (index % 24), np.uint8)
    image[: size[1] // 4, : size[0] // 4] = 255
    return image


def index_of(image: np.ndarray) -> int:
    """Read the index from the middle of a picture."""
    height, width = image.shape[:2]
    middle = image[height // 2 :, width // 3 : 2 * width // 3]
    return round(float(middle.mean()) / STEP)


@dataclass
class Read:
    """What came out of a source."""

    source: FrameSource
    numbers: list[int]
    indices: list[int]
    times: list[Fraction | float | None]
    images: list[np.ndarray]


@pytest.fixture
def read() -> Callable[..., Read]:
    """A function: read a source to its end."""

    def read_all(source: str | Path | Sequence[Path], **options: object) -> Read:
        opened = open_source(source, SourceOptions(**options))
        frames = list(opened)
        return Read(
            opened,
            [frame.number for frame in frames],
            [index_of(frame.image) for frame in frames],
            [frame.time for frame in frames],
            [frame.image for frame in frames],
        )

    return read_all


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """A function: encode pictures 0, 1, 2, ... at 25 frames per second."""

    def encode(
        name: str,
        codec: str = 'libx264',
        count: int = 20,
        size: tuple[int, int] = (64, 48),
        pixels: str = 'yuv420p',
        stamps: Sequence[int] | None = None,
        unit: Fraction | None = None,
        format: str | None = None,
        key_frames: int = 5,
        options: dict[str, str] | None = None,
        container: dict[str, str] | None = None,
        prepare: Callable[[av.VideoStream], None] | None = None,
        first: int = 0,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), 'w', format=format, options=container or {}) as file:
            stream = file.add_stream(codec, rate=25, options=options or {})
            stream.width, stream.height = size
            stream.pix_fmt = pixels
            stream.codec_context.gop_size = key_frames
            if unit is not None:
                stream.codec_context.time_base = unit
            if prepare is not None:
                prepare(stream)
            for place in range(count):
                frame = av.VideoFrame.from_ndarray(
                    picture(first + place, size), format='rgb24'
                ).reformat(format=pixels)
                if stamps is not None:
                    frame.pts, frame.time_base = stamps[place], unit
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
        return path

    return encode


@pytest.fixture
def said(recwarn: pytest.WarningsRecorder) -> Callable[[], Iterator[str]]:
    """A function: what was said so far."""
    return lambda: [str(warning.message) for warning in recwarn]
