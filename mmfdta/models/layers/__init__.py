# Copyright (c) mmfdta authors.
"""Transformer layers shared by detector, adapters and association."""

from .attention import DetrAttention, MultiheadAttention
from .linear import Linear, linear, use_fast_linears
from .long_attention import attention
from .position import frame_position_encoding
from .transformer import FFN, TransformerEncoderLayer

__all__ = [
    'FFN',
    'DetrAttention',
    'Linear',
    'MultiheadAttention',
    'TransformerEncoderLayer',
    'attention',
    'frame_position_encoding',
    'linear',
    'use_fast_linears',
]
