# Copyright (c) mmfdta authors.
"""Data: sequences, samplers, clip transforms and ID targets."""

from .id_targets import IDTargets, make_id_targets
from .mot_sequence import MOTSequenceDataset
from .named import BFTDataset, DanceTrackDataset, MOT17Dataset, SportsMOTDataset
from .samplers import ClipSampler, SequenceSampler
from .structures import ClipIndex
from .transforms import *  # noqa: F403

__all__ = [
    'BFTDataset',
    'ClipIndex',
    'ClipSampler',
    'DanceTrackDataset',
    'IDTargets',
    'MOT17Dataset',
    'MOTSequenceDataset',
    'SequenceSampler',
    'SportsMOTDataset',
    'make_id_targets',
]
