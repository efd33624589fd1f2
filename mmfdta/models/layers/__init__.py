# Copyright (c) mmfdta authors.
"""Transformer layers that detectors, adapters and association share."""

from .attention import DetrAttention, MultiheadAttention
from .gradients import scale_gradient
from .precision import in_float32
from .transformer import FFN, TransformerEncoderLayer, frame_position_encoding

__all__ = [
    'FFN',
    'DetrAttention',
    'MultiheadAttention',
    'TransformerEncoderLayer',
    'frame_position_encoding',
    'in_float32',
    'scale_gradient',
]
