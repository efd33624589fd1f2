# Copyright (c) mmfdta authors.
"""The demo: `python -m mmfdta demo`."""

from .command import main

__all__ = ['main']
