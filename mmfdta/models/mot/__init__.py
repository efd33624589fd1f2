# Copyright (c) mmfdta authors.
"""Models that detect and track."""

from mmfdta.utils.environment import prepare_mmdet

prepare_mmdet()

from .box_fdta import BoxFDTA
from .fdta import FDTA
from .motr import MOTR
from .tracking_by_detection import OnlineTracker, TrackingByDetection
from .video_state import model_for_video

__all__ = [
    'FDTA',
    'MOTR',
    'BoxFDTA',
    'OnlineTracker',
    'TrackingByDetection',
    'model_for_video',
]
