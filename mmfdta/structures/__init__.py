# Copyright (c) mmfdta authors.
"""The ground that every package stands on; it needs no PyTorch.

Tracks and their text, facts and rules of the benchmarks, tables, whole files.
"""

from .benchmarks import BENCHMARKS, Benchmark, get_benchmark
from .tracks import Sequence, Tracks

__all__ = [
    'BENCHMARKS',
    'Benchmark',
    'Sequence',
    'Tracks',
    'get_benchmark',
]
