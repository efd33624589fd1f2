# Copyright (c) mmfdta authors.
"""Reading, comparing, recognising, converting and writing checkpoints.

The list of published weights needs no PyTorch; all other names load it on first use.
"""

from typing import TYPE_CHECKING

from mmfdta.utils.lazy import lazy_names

from .published import PUBLISHED, PublishedWeights

if TYPE_CHECKING:
    from .adaptation import adapt_weights, convert_for_host
    from .class_heads import ClassChoice
    from .comparison import CheckpointMismatchError, compare_weights, matching_weights
    from .convert import (
        Conversion,
        ConversionReport,
        TensorRecord,
        convert_checkpoint,
        convert_state_dict,
    )
    from .families import FAMILIES, TARGETS, Family, find_host, recognise
    from .files import (
        CheckpointError,
        clean_state_dict,
        read_content,
        read_state_dict,
        write_checkpoint,
    )
    from .rules import Alias

__all__ = [
    'FAMILIES',
    'PUBLISHED',
    'TARGETS',
    'Alias',
    'CheckpointError',
    'CheckpointMismatchError',
    'ClassChoice',
    'Conversion',
    'ConversionReport',
    'Family',
    'PublishedWeights',
    'TensorRecord',
    'adapt_weights',
    'clean_state_dict',
    'compare_weights',
    'convert_checkpoint',
    'convert_for_host',
    'convert_state_dict',
    'find_host',
    'matching_weights',
    'read_content',
    'read_state_dict',
    'recognise',
    'write_checkpoint',
]

__getattr__ = lazy_names(
    __name__,
    {
        'adaptation': ('adapt_weights', 'convert_for_host'),
        'class_heads': ('ClassChoice',),
        'comparison': (
            *('CheckpointMismatchError', 'compare_weights', 'matching_weights'),
        ),
        'convert': (
            *('Conversion', 'ConversionReport', 'TensorRecord'),
            *('convert_checkpoint', 'convert_state_dict'),
        ),
        'families': ('FAMILIES', 'TARGETS', 'Family', 'find_host', 'recognise'),
        'files': (
            *('CheckpointError', 'clean_state_dict', 'read_content', 'read_state_dict'),
            'write_checkpoint',
        ),
        'rules': ('Alias',),
    },
)
