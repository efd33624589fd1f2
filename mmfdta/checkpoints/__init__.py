# Copyright (c) mmfdta authors.
"""Reading, comparing, recognising, converting and writing checkpoints."""

from .class_heads import ClassChoice
from .comparison import CheckpointMismatchError, compare_weights, matching_weights
from .convert import (
    Conversion,
    ConversionReport,
    TensorRecord,
    convert_checkpoint,
    convert_state_dict,
)
from .families import FAMILIES, TARGETS, Family, recognise
from .files import CheckpointError, read_content, read_state_dict, write_checkpoint
from .rules import Alias

__all__ = [
    'FAMILIES',
    'TARGETS',
    'Alias',
    'CheckpointError',
    'CheckpointMismatchError',
    'ClassChoice',
    'Conversion',
    'ConversionReport',
    'Family',
    'TensorRecord',
    'compare_weights',
    'convert_checkpoint',
    'convert_state_dict',
    'matching_weights',
    'read_content',
    'read_state_dict',
    'recognise',
    'write_checkpoint',
]
