# Copyright (c) mmfdta authors.
"""What is kept between frames, and who gets which ID."""

from .assignment import PROTOCOLS
from .fdta_tracker import FDTATracker, FrameTracks
from .history import TrajectoryHistory

__all__ = ['PROTOCOLS', 'FDTATracker', 'FrameTracks', 'TrajectoryHistory']
