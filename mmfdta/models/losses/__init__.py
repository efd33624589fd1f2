# Copyright (c) mmfdta authors.
"""The losses that FDTA adds to those of the detector."""

from mmfdta.utils.environment import prepare_mmdet

prepare_mmdet()

from .contrastive import QualityAwareContrastiveLoss
from .depth_bin import DepthBinLoss, depth_targets, foreground_mask
from .identity import IDLoss

__all__ = [
    'DepthBinLoss',
    'IDLoss',
    'QualityAwareContrastiveLoss',
    'depth_targets',
    'foreground_mask',
]
