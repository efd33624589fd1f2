# Copyright (c) mmfdta authors.
"""Whole trackers."""

from .fdta import FDTA

__all__ = ['FDTA']
