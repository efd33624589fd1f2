# Copyright (c) mmfdta authors.
"""Data preprocessors that make batches of clips on the device."""

from mmfdta.utils.environment import prepare_mmdet

prepare_mmdet()

from .clip_data_preprocessor import ClipDataPreprocessor, TrackerDataPreprocessor

__all__ = ['ClipDataPreprocessor', 'TrackerDataPreprocessor']
