# Copyright (c) mmfdta authors.
"""Scores of tracking results: in a run, and of any MOTChallenge text."""

from .benchmarks import BENCHMARKS, Benchmark, get_benchmark
from .mot_metric import MOTMetric
from .runner import Settings, evaluate
from .scores import Counts, Evaluation, count_sequence, summarise
from .tracks import Sequence, TrackBoxes

__all__ = [
    'BENCHMARKS',
    'Benchmark',
    'Counts',
    'Evaluation',
    'MOTMetric',
    'Sequence',
    'Settings',
    'TrackBoxes',
    'count_sequence',
    'evaluate',
    'get_benchmark',
    'summarise',
]
