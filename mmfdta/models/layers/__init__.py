# Copyright (c) mmfdta authors.
"""Transformer layers shared by detector, adapters and association."""

from mmfdta.ops import Linear, attention, linear, use_fast_linears

from .attention import DetrAttention, MultiheadAttention
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
