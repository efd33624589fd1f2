# Copyright (c) mmfdta authors.
"""The three adapters of FDTA: spatial, temporal and identity."""

from mmfdta.utils.environment import prepare_mmdet

prepare_mmdet()

from .identity import IdentityAdapter
from .spatial import DepthFeatures, SpatialAdapter
from .temporal import TemporalAdapter

__all__ = ['DepthFeatures', 'IdentityAdapter', 'SpatialAdapter', 'TemporalAdapter']
