# Copyright (c) mmfdta authors.
"""Who is who: trajectories, ID words and the ID decoder."""

from .id_decoder import IDDecoder
from .sequences import Sequences, build_sequences
from .trajectory_modeling import TrajectoryModeling

__all__ = ['IDDecoder', 'Sequences', 'TrajectoryModeling', 'build_sequences']
