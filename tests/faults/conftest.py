# Copyright (c) mmfdta authors.
"""Runs of a small FDTA on small data that something happens to."""

from tiny_run import environment, tiny_run

__all__ = ['environment', 'tiny_run']
