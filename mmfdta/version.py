# Copyright (c) mmfdta authors.
"""The version of mmfdta, and the address of its repository."""

__version__ = '0.3.0.dev0'
__repository__ = 'https://github.com/mmfdta/mmfdta'
