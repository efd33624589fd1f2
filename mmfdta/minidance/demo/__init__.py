# Copyright (c) mmfdta authors.
"""The demo: FDTA and its baselines on MiniDance, trained and compared."""

from .command import run_demo

__all__ = ['run_demo']
