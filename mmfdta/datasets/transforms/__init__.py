# Copyright (c) mmfdta authors.
"""Clip transforms: geometry first, pixels once."""

from .color import ClipColorJitter
from .formatting import PackClipInputs
from .loading import DecodeClip, LoadClipDepth, OpenClip
from .resizing import (
    ClipRandomChoice,
    ClipRandomCrop,
    ClipRandomFlip,
    ClipRandomResize,
    ClipResize,
)
from .static_shift import StaticClipShift
from .targets import GenerateIDTargets
from .unpacking import UnpackFrame

__all__ = [
    'ClipColorJitter',
    'ClipRandomChoice',
    'ClipRandomCrop',
    'ClipRandomFlip',
    'ClipRandomResize',
    'ClipResize',
    'DecodeClip',
    'GenerateIDTargets',
    'LoadClipDepth',
    'OpenClip',
    'PackClipInputs',
    'StaticClipShift',
    'UnpackFrame',
]
