# Copyright (c) mmfdta authors.
"""Batches of clips on the device."""

from .clip_data_preprocessor import ClipDataPreprocessor

__all__ = ['ClipDataPreprocessor']
