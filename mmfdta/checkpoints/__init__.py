# Copyright (c) mmfdta authors.
"""Reading, recognising, converting and writing checkpoints."""

from .class_heads import ClassChoice
from .convert import Conversion, convert_checkpoint, convert_state_dict
from .errors import CheckpointError
from .families import FAMILIES, TARGETS, Alias, Family, recognise
from .reading import read_content, read_state_dict
from .report import ConversionReport, TensorRecord
from .writing import write_checkpoint

__all__ = [
    'FAMILIES',
    'TARGETS',
    'Alias',
    'CheckpointError',
    'ClassChoice',
    'Conversion',
    'ConversionReport',
    'Family',
    'TensorRecord',
    'convert_checkpoint',
    'convert_state_dict',
    'read_content',
    'read_state_dict',
    'recognise',
    'write_checkpoint',
]
