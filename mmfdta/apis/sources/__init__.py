# Copyright (c) mmfdta authors.
"""Where frames come from: videos, images, cameras and streams."""

from .base import FrameSource, SourceFrame, SourceOptions
from .opening import kind_of_source, open_source

__all__ = [
    'FrameSource',
    'SourceFrame',
    'SourceOptions',
    'kind_of_source',
    'open_source',
]
