# Copyright (c) mmfdta authors.
"""MiniDance: rendered dancers with exact boxes, identities and depth.

The renderer needs NumPy and OpenCV only; :class:`MiniDanceDataset` and the demo
need MMDetection, which is imported when they are asked for.
"""

from typing import Any

from .scene import SPLITS, Frame, MiniDanceOptions, Scene, build_scene
from .writing import make_minidance

__all__ = [
    'SPLITS',
    'Frame',
    'MiniDanceDataset',
    'MiniDanceOptions',
    'Scene',
    'build_scene',
    'make_minidance',
]


def __getattr__(name: str) -> Any:
    if name == 'MiniDanceDataset':
        from .dataset import MiniDanceDataset

        return MiniDanceDataset
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
