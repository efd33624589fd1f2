# Copyright (c) mmfdta authors.
"""Where frames come from: videos, images, cameras and streams."""

from .base import FrameSource, SourceFrame, SourceOptions
from .opening import is_file, is_live, open_source

__all__ = [
    'FrameSource',
    'SourceFrame',
    'SourceOptions',
    'is_file',
    'is_live',
    'open_source',
]
