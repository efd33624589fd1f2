# Copyright (c) mmfdta authors.
"""Several trackers on one data set: `python -m mmfdta benchmark`."""

from .command import main

__all__ = ['main']
