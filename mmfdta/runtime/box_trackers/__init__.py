# Copyright (c) mmfdta authors.
"""MMDetection's trackers on boxes, on NumPy arrays: the same identities, no PyTorch."""

from .base import BoxTracker
from .byte_tracker import ByteTracker
from .ocsort_tracker import OCSORTTracker
from .sort_tracker import SORTTracker

__all__ = ['BoxTracker', 'ByteTracker', 'OCSORTTracker', 'SORTTracker']
