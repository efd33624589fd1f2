# Copyright (c) mmfdta authors.
"""Tests of mmfdta.utils.checkpoint."""
