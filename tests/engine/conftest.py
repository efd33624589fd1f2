# Copyright (c) mmfdta authors.
"""Training of a small FDTA on small data."""

from tiny_run import environment, tiny_run

__all__ = ['environment', 'tiny_run']
