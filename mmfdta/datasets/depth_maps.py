# Copyright (c) mmfdta authors.
"""Writes a sequence's depth maps, normalised over the sequence.

The range of a sequence is known only after its last frame. So raw depth goes to
a working folder first, one file a frame, and the 8-bit maps are written when all
of it is there: memory holds one frame, and an interrupted run goes on where it
stopped. The folder ``depth`` appears under its name when it is complete.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from PIL import Image

from mmfdta.structures.mot_text import write_text_atomic

from .layouts import list_images
from .structures import SequenceSource
from .transforms.decoding import read_image_size
from .transforms.loading import find_depth_map

INFO_NAME = 'depth.json'
_WORK_SUFFIX = '.partial'
_POLARITY = 'near is bright'


class DepthBackend(Protocol):
    """What gives depth; see :mod:`mmfdta.datasets.depth_backends`."""

    @property
    def dtype(self) -> type:
        """NumPy's type of the maps."""

    def describe(self) -> dict:
        """Say what makes the maps."""

    def predict(self, paths: list[str]) -> Iterator[np.ndarray]:
        """Yield a float map (h, w) for each image, near is large."""


def generate_depth(source: SequenceSource, backend: DepthBackend) -> int:
    """Make the depth maps of a sequence.

    Args:
        source: The sequence.
        backend: Where depth comes from.

    Returns:
        Number of maps written; 0 if they were all there.

    Raises:
        FileExistsError: If there are maps that this function did not make and
            that do not cover the sequence.
        ValueError: If an estimate is not finite, or the same everywhere.
    """
    names = list_images(source.image_dir)
    target = Path(source.depth_dir)
    if target.is_dir() and _is_complete(target, names):
        return 0
    if target.is_dir() and not (target / INFO_NAME).is_file():
        raise FileExistsError(
            f'{target}: holds maps of another tool that do not cover the sequence. '
            'Complete them, or move the folder away and run again'
        )
    work = Path(f'{target}{_WORK_SUFFIX}')
    _open_work(work, backend.describe())
    _estimate(source.image_dir, names, work, backend)
    low, high = _find_range(work, names)
    if low == high:
        raise ValueError(
            f'{source.image_dir}: depth is {low} everywhere in the sequence, expected '
            'near and far. Is the model right, and are its weights loaded?'
        )
    maps = work / 'maps'
    shape = read_image_size(os.path.join(source.image_dir, names[0]))
    _write_maps(work, maps, names, shape, (low, high))
    info = dict(
        backend.describe(),
        range=[low, high],
        polarity=_POLARITY,
        normalised='(depth - low) / (high - low) * 255 over the sequence',
        maps=len(names),
        size=[shape[1], shape[0]],
    )
    write_text_atomic(maps / INFO_NAME, json.dumps(info, indent=2) + '\n')
    if target.is_dir():
        shutil.rmtree(target)
    os.rename(maps, target)
    shutil.rmtree(work)
    return len(names)


def _is_complete(target: Path, names: list[str]) -> bool:
    try:
        for name in names:
            find_depth_map(str(target), name)
    except FileNotFoundError:
        return False
    return True


def _open_work(work: Path, description: dict) -> None:
    """Make the working folder; leftovers of another backend are thrown away."""
    note = work / 'backend.json'
    text = json.dumps(description, sort_keys=True)
    if work.is_dir() and not (note.is_file() and note.read_text() == text):
        shutil.rmtree(work)
    write_text_atomic(note, text)


def _estimate(
    image_dir: str, names: list[str], work: Path, backend: DepthBackend
) -> None:
    todo = [name for name in names if not _raw_path(work, name).is_file()]
    paths = [os.path.join(image_dir, name) for name in todo]
    for name, path, depth in zip(todo, paths, backend.predict(paths), strict=True):
        if not np.isfinite(depth).all():
            raise ValueError(f'{path}: the depth estimate is not finite')
        raw = _raw_path(work, name)
        unfinished = raw.with_suffix('.tmp')
        with open(unfinished, 'wb') as file:
            np.save(file, depth.astype(backend.dtype))
        os.replace(unfinished, raw)


def _raw_path(work: Path, name: str) -> Path:
    return work / f'{Path(name).stem}.npy'


def _find_range(work: Path, names: list[str]) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for name in names:
        depth = np.load(_raw_path(work, name))
        low, high = min(low, float(depth.min())), max(high, float(depth.max()))
    return low, high


def _write_maps(
    work: Path,
    maps: Path,
    names: list[str],
    shape: tuple[int, int],
    limits: tuple[float, float],
) -> None:
    maps.mkdir(exist_ok=True)
    low, high = limits
    scale = 255 / (high - low)
    for name in names:
        depth = np.load(_raw_path(work, name)).astype(np.float32)
        if depth.shape != shape:
            # Linear, as cubic overshoots the range beside edges.
            depth = cv2.resize(depth, shape[::-1], interpolation=cv2.INTER_LINEAR)
        grey = np.rint(((depth - low) * scale).clip(0, 255)).astype(np.uint8)
        Image.fromarray(grey).save(maps / f'{Path(name).stem}.png')
