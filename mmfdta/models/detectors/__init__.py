# Copyright (c) mmfdta authors.
"""The detectors of FDTA and MOTR, both of them Deformable DETR."""

from mmfdta.utils.environment import prepare_mmdet

prepare_mmdet()

from .fdta_detector import (
    DetectorOutputs,
    FDTADetector,
    MergedOutputs,
    host_detections,
)
from .fdta_head import FDTAHead
from .matcher import ClipMatcher, ClipMatches, ClipTargets, MatchedPairs
from .motr_detector import EncodedFrames, MOTRDetector, TrackQueries
from .motr_head import (
    MatchedFrame,
    MOTRHead,
    TrackletMatcher,
    TrackletMatches,
    Tracklets,
)

__all__ = [
    'ClipMatcher',
    'ClipMatches',
    'ClipTargets',
    'DetectorOutputs',
    'EncodedFrames',
    'FDTADetector',
    'FDTAHead',
    'MOTRDetector',
    'MOTRHead',
    'MatchedFrame',
    'MatchedPairs',
    'MergedOutputs',
    'TrackQueries',
    'TrackletMatcher',
    'TrackletMatches',
    'Tracklets',
    'host_detections',
]
