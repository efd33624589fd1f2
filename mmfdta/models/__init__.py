# Copyright (c) mmfdta authors.
"""Networks, losses and trackers, registered in MMDetection's registries."""

from mmfdta.utils.mmdet_setup import prepare_mmdet

prepare_mmdet()

from .adapters import IdentityAdapter, SpatialAdapter, TemporalAdapter
from .association import IDDecoder, QueryInteraction, TrajectoryModeling
from .data_preprocessors import ClipDataPreprocessor, TrackerDataPreprocessor
from .detectors import (
    ClipMatcher,
    FDTADetector,
    FDTAHead,
    MOTRDetector,
    MOTRHead,
    TrackletMatcher,
)
from .losses import DepthBinLoss, IDLoss, QualityAwareContrastiveLoss
from .mot import FDTA, MOTR
from .trackers import FDTATracker, IoUEmbeddingTracker, MOTRTracker

__all__ = [
    'FDTA',
    'MOTR',
    'ClipDataPreprocessor',
    'ClipMatcher',
    'DepthBinLoss',
    'FDTADetector',
    'FDTAHead',
    'FDTATracker',
    'IDDecoder',
    'IDLoss',
    'IdentityAdapter',
    'IoUEmbeddingTracker',
    'MOTRDetector',
    'MOTRHead',
    'MOTRTracker',
    'QualityAwareContrastiveLoss',
    'QueryInteraction',
    'SpatialAdapter',
    'TemporalAdapter',
    'TrackletMatcher',
    'TrackerDataPreprocessor',
    'TrajectoryModeling',
]
