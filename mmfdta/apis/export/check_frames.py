# Copyright (c) mmfdta authors.
"""Frames on which both sides of an export are compared."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

from ..evaluation_data import open_dataset
from ..sources import open_source

_MADE_UP = 360, 640


@dataclass(frozen=True)
class CheckFrames:
    """Some frames, and where they are from.

    Attributes:
        images: uint8 (H, W, 3) BGR each.
        origin: For people.
    """

    images: list[np.ndarray]
    origin: str


def find_frames(config: Config, source: str | None, count: int) -> CheckFrames:
    """Take frames of a source, else of the config's data, else make some up.

    Args:
        config: Its data set of ``val_dataloader`` or ``test_dataloader`` is taken.
        source: Video, folder or pattern; see `open_source`.
        count: At most so many.

    Raises:
        FileNotFoundError: If there is no such source.
        OSError: If it cannot be read, or has no frames.
    """
    if source is not None:
        images, name = _read(source, count)
        if not images:
            raise OSError(f'{name}: found no frames to compare both sides on')
        # An address may have a password in it, and this is written down.
        shown = name if '://' in source else source
        return CheckFrames(images, f'{len(images)} frames of {shown}')
    reasons = []
    for data in ('val', 'test'):
        dataset = (config.get(f'{data}_dataloader') or {}).get('dataset') or {}
        root = dataset.get('data_root')
        # Some data sets are made when they are not there.
        if not root or not Path(root).is_dir():
            reasons.append(f'{data}_dataloader has no data at {root}')
            continue
        try:
            sequence = open_dataset(config, data).sequences[0]
            folder = Path(sequence.image_dir)
            names = sequence.image_names[:count].tolist()
            images, _ = _read([folder / name for name in names], count)
        except (OSError, ValueError) as error:
            reasons.append(f'the data of {data}_dataloader cannot be read: {error}')
            continue
        return CheckFrames(images, f'{len(images)} frames of {folder}')
    images = list(make_frames(count))
    return CheckFrames(images, f'{len(images)} made-up frames, as {reasons[0]}')


def _read(source: str | list[Path], count: int) -> tuple[list[np.ndarray], str]:
    """Read the first images; return them and what messages call their source."""
    frames = open_source(source)
    try:
        images = [frame.image for frame in itertools.islice(frames, count)]
        return images, frames.name
    finally:
        frames.close()


def make_frames(count: int, shape: tuple[int, int] = _MADE_UP) -> Iterator[np.ndarray]:
    """Paint figures that move over a textured ground.

    Args:
        count: How many frames.
        shape: Height and width of them.

    Yields:
        uint8 (H, W, 3) BGR.
    """
    rng = np.random.default_rng(0)
    height, width = shape
    coarse = rng.integers(60, 160, (9, 16, 3), dtype=np.uint8)
    ground = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    places = rng.uniform(0.15, 0.85, (6, 2)) * (width, height)
    steps = rng.uniform(-0.01, 0.01, (6, 2)) * (width, height)
    colors = rng.integers(0, 256, (6, 3)).tolist()
    for number in range(count):
        image = ground.copy()
        for (x, y), color in zip(places + number * steps, colors, strict=True):
            side = height // 8
            body = (int(x) - side // 2, int(y)), (int(x) + side // 2, int(y) + 2 * side)
            cv2.rectangle(image, *body, color, -1)
            cv2.circle(image, (int(x), int(y) - side // 3), side // 3, color[::-1], -1)
        yield image
