# Copyright (c) mmfdta authors.
"""Sizes of feature levels as numbers on the host, which avoids waits for the GPU."""

import functools
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

LevelShapes = tuple[tuple[int, int], ...]
# spatial_shapes -> its version and its content.
_KNOWN: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def read_level_shapes(spatial_shapes: Tensor) -> LevelShapes:
    """Return (h, w) of each level.

    A tensor is read only once: all layers of a transformer get the same one, and
    reading from a GPU waits for all earlier work.

    Args:
        spatial_shapes: int64 (L, 2), (h, w) of each level.
    """
    version = -1 if spatial_shapes.is_inference() else spatial_shapes._version
    known = _KNOWN.get(spatial_shapes)
    if known is None or known[0] != version:
        known = version, as_level_shapes(spatial_shapes.tolist())
        _KNOWN[spatial_shapes] = known
    return known[1]


def as_level_shapes(shapes: Sequence[Sequence[int]]) -> LevelShapes:
    """Return (h, w) of each level as tuples."""
    return tuple((int(height), int(width)) for height, width in shapes)


@functools.lru_cache(maxsize=1024)
def on_device(
    numbers: tuple[tuple[int, ...], ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return a table of numbers on a device, copied once and without waiting.

    It is shared: do not write to it.
    """
    table = torch.tensor(numbers, dtype=dtype)
    if device.type == 'cuda':
        table = table.pin_memory()
    return table.to(device, non_blocking=True)


def level_starts(shapes: LevelShapes) -> tuple[int, ...]:
    """Return the first key of each level."""
    sizes = [height * width for height, width in shapes]
    return tuple(itertools.accumulate(sizes[:-1], initial=0))
