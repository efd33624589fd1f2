# Copyright (c) mmfdta authors.
"""The operators that networks are written on, plain and faster."""

from .linear import Linear, linear, use_fast_linears
from .long_attention import attention

__all__ = ['Linear', 'attention', 'linear', 'use_fast_linears']
