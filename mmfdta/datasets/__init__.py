# Copyright (c) mmfdta authors.
"""Data: sequences, samplers, clip transforms and ID targets."""

from mmfdta.utils.environment import prepare_mmdet

prepare_mmdet()

from . import transforms
from .mot_sequence import JointMOTDataset, MOTSequenceDataset
from .named import (
    BFTDataset,
    CrowdHumanClipDataset,
    DanceTrackDataset,
    MOT15Dataset,
    MOT16Dataset,
    MOT17Dataset,
    MOT20Dataset,
    PETSDataset,
    SportsMOTDataset,
)
from .samplers import ClipSampler, SequenceSampler
from .sequences import ClipIndex
from .transforms.id_targets import IDTargets, make_id_targets

__all__ = [
    'BFTDataset',
    'ClipIndex',
    'ClipSampler',
    'CrowdHumanClipDataset',
    'DanceTrackDataset',
    'IDTargets',
    'JointMOTDataset',
    'MOT15Dataset',
    'MOT16Dataset',
    'MOT17Dataset',
    'MOT20Dataset',
    'MOTSequenceDataset',
    'PETSDataset',
    'SequenceSampler',
    'SportsMOTDataset',
    'make_id_targets',
    'transforms',
]
