# Copyright (c) mmfdta authors.
"""Scores of tracking results: in a run, and of any MOTChallenge text.

Only :class:`MOTMetric`, which is loaded when it is asked for, needs PyTorch and
MMDetection.
"""

from typing import TYPE_CHECKING, Any

from mmfdta.structures.benchmarks import BENCHMARKS, Benchmark, get_benchmark
from mmfdta.structures.tracks import Sequence, Tracks

from .scores import (
    Counts,
    Evaluation,
    Settings,
    count_sequence,
    evaluate,
    select_scored,
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


def __getattr__(name: str) -> Any:
    if name == 'MOTMetric':
        from .mot_metric import MOTMetric

        return MOTMetric
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
