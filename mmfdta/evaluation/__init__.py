# Copyright (c) mmfdta authors.
"""Scores of tracking results: in a run, and of any MOTChallenge text."""

from mmfdta.utils.mmdet_setup import prepare_mmdet

prepare_mmdet()

from mmfdta.structures.tracks import Sequence, TrackBoxes

from .benchmarks import BENCHMARKS, Benchmark, get_benchmark
from .mot_metric import MOTMetric
from .runner import Settings, evaluate
from .scores import Counts, Evaluation, count_sequence, summarise

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
