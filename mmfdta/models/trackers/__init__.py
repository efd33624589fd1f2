# Copyright (c) mmfdta authors.
"""What is kept between frames, and who gets which ID."""

from .assignment import PROTOCOLS
from .fdta_tracker import FDTATracker, FrameTracks
from .history import TrajectoryHistory
from .iou_embedding_tracker import IoUEmbeddingTracker
from .motr_tracker import LivingTracks, MOTRTracker

__all__ = [
    'PROTOCOLS',
    'FDTATracker',
    'FrameTracks',
    'IoUEmbeddingTracker',
    'LivingTracks',
    'MOTRTracker',
    'TrajectoryHistory',
]
