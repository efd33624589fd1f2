# Copyright (c) mmfdta authors.
"""The version of mmfdta."""

__version__ = '0.2.0.dev0'
