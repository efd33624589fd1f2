# Copyright (c) mmfdta authors.
"""MiniDance: rendered dancers with exact boxes, identities and depth."""

from .dataset import MiniDanceDataset
from .options import SPLITS, MiniDanceOptions
from .scene import Frame, Scene, build_scene
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
