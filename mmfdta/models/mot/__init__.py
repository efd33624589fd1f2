# Copyright (c) mmfdta authors.
"""Whole trackers."""

from .fdta import FDTA
from .motr import MOTR

__all__ = ['FDTA', 'MOTR']
