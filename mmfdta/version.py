# Copyright (c) mmfdta authors.
"""The version of mmfdta."""

__version__ = '0.1.0'
