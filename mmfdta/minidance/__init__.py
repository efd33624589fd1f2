# Copyright (c) mmfdta authors.
"""MiniDance: rendered dancers with exact boxes, identities and depth.

The renderer needs NumPy and OpenCV only; :class:`MiniDanceDataset` and the demo
need MMDetection, which is imported when they are asked for.
"""

from mmfdta.utils.lazy import lazy_names

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


__getattr__ = lazy_names(__name__, {'dataset': ('MiniDanceDataset',)})
