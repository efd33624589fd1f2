# Copyright (c) mmfdta authors.
"""Scores of tracking results: in a run, and of any MOTChallenge text.

Only :class:`MOTMetric`, which is loaded when it is asked for, needs PyTorch and
MMDetection.
"""

from typing import TYPE_CHECKING

from mmfdta.structures.benchmarks import BENCHMARKS, Benchmark, get_benchmark
from mmfdta.structures.tracks import Sequence, Tracks
from mmfdta.utils.lazy import lazy_names

from .rules import select_scored
from .scores import (
    Counts,
    Evaluation,
    Settings,
    count_sequence,
    evaluate,
    summarise,
)

if TYPE_CHECKING:
    from .mot_metric import MOTMetric

__all__ = [
    'BENCHMARKS',
    'Benchmark',
    'Counts',
    'Evaluation',
    'MOTMetric',
    'Sequence',
    'Settings',
    'TrackBoxes',
    'Tracks',
    'count_sequence',
    'evaluate',
    'get_benchmark',
    'select_scored',
    'summarise',
]

TrackBoxes = Tracks  # the name in 0.1


__getattr__ = lazy_names(__name__, {'mot_metric': ('MOTMetric',)})
