# Copyright (c) mmfdta authors.
"""A closer look at trained trackers: similarity, timelines, thresholds."""

# Each command is a module of its own.
__all__: list[str] = []
