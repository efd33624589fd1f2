# Copyright (c) mmfdta authors.
"""FDTA and other multi-object trackers as registry classes of MMDetection.

Importing this package loads nothing else. Configs import ``mmfdta.registry``, which
registers every class.
"""

from mmfdta.version import __version__

__all__ = ['__version__']
