# Copyright (c) mmfdta authors.
"""Detectors for FDTA, MOTR and trackers on boxes, and embeddings of detections."""

from mmfdta.utils.environment import prepare_mmdet

prepare_mmdet()

from .crop_embeddings import CropEmbeddings, ReIDNetwork
from .detr_interface import DetrInterface
from .fdta_detector import FDTADetector
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
from .outputs import ClipDetector, DetectorOutputs, MergedOutputs, host_detections
from .pooled_embeddings import PooledEmbeddings
from .query_detector import QueryDetector
from .sparse_rcnn_interface import SparseRCNNInterface
from .text_detections import TextDetections, text_detector
from .two_stage_deformable_detr import TwoStageDeformableDETR
from .zoo_dino import ZooDINO

__all__ = [
    'ClipDetector',
    'ClipMatcher',
    'ClipMatches',
    'ClipTargets',
    'CropEmbeddings',
    'DetectorOutputs',
    'DetrInterface',
    'EncodedFrames',
    'FDTADetector',
    'FDTAHead',
    'MOTRDetector',
    'MOTRHead',
    'MatchedFrame',
    'MatchedPairs',
    'MergedOutputs',
    'PooledEmbeddings',
    'QueryDetector',
    'ReIDNetwork',
    'SparseRCNNInterface',
    'TextDetections',
    'TrackQueries',
    'TrackletMatcher',
    'TrackletMatches',
    'Tracklets',
    'TwoStageDeformableDETR',
    'ZooDINO',
    'host_detections',
    'text_detector',
]
