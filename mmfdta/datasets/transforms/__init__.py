# Copyright (c) mmfdta authors.
"""Clip transforms: geometry first, pixels once."""

from .clip_transform import ClipTransform
from .color import ClipColorJitter
from .detections import OpenBoxes, SimulateDetections
from .formatting import PackClipInputs, UnpackFrame
from .geometry import (
    ClipRandomChoice,
    ClipRandomCrop,
    ClipRandomFlip,
    ClipRandomResize,
    ClipResize,
    StaticClipShift,
)
from .id_targets import GenerateIDTargets
from .loading import ClipSteps, DecodeClip, LoadClipDepth, OpenClip

__all__ = [
    'ClipColorJitter',
    'ClipRandomChoice',
    'ClipRandomCrop',
    'ClipRandomFlip',
    'ClipRandomResize',
    'ClipResize',
    'ClipSteps',
    'ClipTransform',
    'DecodeClip',
    'GenerateIDTargets',
    'LoadClipDepth',
    'OpenBoxes',
    'OpenClip',
    'PackClipInputs',
    'SimulateDetections',
    'StaticClipShift',
    'UnpackFrame',
]
