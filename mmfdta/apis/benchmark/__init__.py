# Copyright (c) mmfdta authors.
"""Compare several trackers on one data set, what `mmfdta benchmark` does."""

from .comparison import BenchmarkOptions, Comparison, run_benchmark
from .entries import Entry, read_entries
from .report import Report
from .results import EntryResult

__all__ = [
    'BenchmarkOptions',
    'Comparison',
    'Entry',
    'EntryResult',
    'Report',
    'read_entries',
    'run_benchmark',
]
