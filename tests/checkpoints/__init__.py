# Copyright (c) mmfdta authors.
"""Tests of mmfdta.checkpoints."""
