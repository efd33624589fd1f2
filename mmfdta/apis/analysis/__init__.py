# Copyright (c) mmfdta authors.
"""A closer look at trained trackers: similarity, timelines, thresholds."""
