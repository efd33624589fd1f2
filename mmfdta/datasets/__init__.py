# Copyright (c) mmfdta authors.
"""Data: sequences, samplers, clip transforms and ID targets."""

from mmfdta.utils.mmdet_setup import prepare_mmdet

prepare_mmdet()

from . import transforms
from .crowdhuman import CrowdHumanClipDataset
from .joint import JointMOTDataset
from .mot_sequence import MOTSequenceDataset
from .named import BFTDataset, DanceTrackDataset, MOT17Dataset, SportsMOTDataset
from .samplers import ClipSampler, SequenceSampler
from .structures import ClipIndex
from .transforms.id_targets import IDTargets, make_id_targets

__all__ = [
    'BFTDataset',
    'ClipIndex',
    'ClipSampler',
    'CrowdHumanClipDataset',
    'DanceTrackDataset',
    'IDTargets',
    'JointMOTDataset',
    'MOT17Dataset',
    'MOTSequenceDataset',
    'SequenceSampler',
    'SportsMOTDataset',
    'make_id_targets',
    'transforms',
]
