# Copyright (c) mmfdta authors.
"""Networks, losses and trackers, registered in MMDetection's registries."""

from .adapters import IdentityAdapter, SpatialAdapter, TemporalAdapter
from .association import IDDecoder, TrajectoryModeling
from .data_preprocessors import ClipDataPreprocessor
from .detectors import ClipMatcher, FDTADetector, FDTAHead
from .losses import DepthBinLoss, IDLoss, QualityAwareContrastiveLoss
from .mot import FDTA
from .trackers import FDTATracker

__all__ = [
    'FDTA',
    'ClipDataPreprocessor',
    'ClipMatcher',
    'DepthBinLoss',
    'FDTADetector',
    'FDTAHead',
    'FDTATracker',
    'IDDecoder',
    'IDLoss',
    'IdentityAdapter',
    'QualityAwareContrastiveLoss',
    'SpatialAdapter',
    'TemporalAdapter',
    'TrajectoryModeling',
]
