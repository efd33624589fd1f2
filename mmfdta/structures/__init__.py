# Copyright (c) mmfdta authors.
"""What every other package may import; needs no PyTorch.

Tracks and their text, facts and scoring rules of the benchmarks, tables, files that
are written completely or not at all.
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
