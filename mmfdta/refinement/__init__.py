# Copyright (c) mmfdta authors.
"""Finished tracks made better: joined, filled and smoothed; needs no PyTorch."""

from .joining import Join, join_tracklets
from .steps import (
    DEFAULT_STEPS,
    INTERPOLATIONS,
    Change,
    Refined,
    Refinement,
    refine_tracks,
)

__all__ = [
    'DEFAULT_STEPS',
    'INTERPOLATIONS',
    'Change',
    'Join',
    'Refined',
    'Refinement',
    'join_tracklets',
    'refine_tracks',
]
