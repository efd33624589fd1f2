# Copyright (c) mmfdta authors.
"""Batches of clips on the device."""

from mmfdta.utils.environment import prepare_mmdet

prepare_mmdet()

from .clip_data_preprocessor import ClipDataPreprocessor, TrackerDataPreprocessor

__all__ = ['ClipDataPreprocessor', 'TrackerDataPreprocessor']
