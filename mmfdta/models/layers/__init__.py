# Copyright (c) mmfdta authors.
"""Transformer layers shared by detector, adapters and association."""

from .attention import DetrAttention, MultiheadAttention
from .precision import in_float32
from .transformer import FFN, TransformerEncoderLayer, frame_position_encoding

__all__ = [
    'FFN',
    'DetrAttention',
    'MultiheadAttention',
    'TransformerEncoderLayer',
    'frame_position_encoding',
    'in_float32',
]
