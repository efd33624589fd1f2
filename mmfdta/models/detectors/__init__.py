# Copyright (c) mmfdta authors.
"""FDTA's detector: Deformable DETR with a depth branch."""

from .fdta_detector import DetectorOutputs, FDTADetector
from .fdta_head import FDTAHead
from .matcher import ClipMatcher, ClipMatches, ClipTargets

__all__ = [
    'ClipMatcher',
    'ClipMatches',
    'ClipTargets',
    'DetectorOutputs',
    'FDTADetector',
    'FDTAHead',
]
