# Copyright (c) mmfdta authors.
"""Small sequences on disk, made for a test."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import mmfdta.registry  # noqa: F401

cv2.setNumThreads(0)


def smooth_image(seed: int, height: int, width: int) -> np.ndarray:
    """Make a picture with the smooth and sharp parts of a photograph."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 24 + 2, width // 24 + 2, 3), np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        x, y = rng.integers(0, width), rng.integers(0, height)
        color = tuple(int(c) for c in rng.integers(0, 256, 3))
        cv2.rectangle(image, (int(x), int(y)), (int(x) + 40, int(y) + 60), color, -1)
    return image


def write_sequence(
    folder: Path,
    num_frames: int,
    rows: str | None = None,
    size: tuple[int, int] = (48, 64),
    name: str = '{:06d}.jpg',
    depth: bool = False,
    seqinfo: bool = True,
) -> Path:
    """Write a sequence in the MOTChallenge layout; ``size`` is (H, W)."""
    (folder / 'img1').mkdir(parents=True)
    for t in range(1, num_frames + 1):
        image = Image.fromarray(smooth_image(t, *size))
        image.save(folder / 'img1' / name.format(t), quality=95)
    if rows is None:
        rows = ''.join(
            f'{t},{i},{5 + 20 * i},{4 + t},10,20,1,1,1\n'
            for t in range(1, num_frames + 1)
            for i in range(2)
        )
    if rows:
        (folder / 'gt').mkdir()
        (folder / 'gt' / 'gt.txt').write_text(rows)
    if seqinfo:
        (folder / 'seqinfo.ini').write_text(
            f'[Sequence]\nname={folder.name}\nimDir=img1\nframeRate=20\n'
            f'seqLength={num_frames}\nimWidth={size[1]}\nimHeight={size[0]}\n'
            'imExt=.jpg\n'
        )
    if depth:
        (folder / 'depth').mkdir()
        for t in range(1, num_frames + 1):
            grey = Image.fromarray(smooth_image(t, *size)).convert('L')
            stem = Path(name.format(t)).stem
            grey.save(folder / 'depth' / f'{stem}.png')
    return folder


@pytest.fixture
def make_sequence() -> Callable[..., Path]:
    """Give tests the writer."""
    return write_sequence


@pytest.fixture
def make_image() -> Callable[..., np.ndarray]:
    """Give tests the picture."""
    return smooth_image
