# Copyright (c) mmfdta authors.
"""MMDetection's trackers on boxes with NumPy: the same identities without PyTorch."""

from .base import BoxTracker
from .byte_tracker import ByteTracker
from .ocsort_tracker import OCSORTTracker
from .sort_tracker import SORTTracker

__all__ = ['BoxTracker', 'ByteTracker', 'OCSORTTracker', 'SORTTracker']
