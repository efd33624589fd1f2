# Copyright (c) mmfdta authors.
"""Samplers of clips for training and of whole sequences for tracking."""

from .clip_sampler import ClipSampler
from .sequence_sampler import SequenceSampler

__all__ = ['ClipSampler', 'SequenceSampler']
