# Copyright (c) mmfdta authors.
"""FDTA and its neighbours as registry classes of MMDetection.

Importing this package checks the installed family of packages, makes MMCV's operators
available and registers every class of the project.
"""

from mmfdta.utils.environment import check_environment, find_environment, import_mmdet
from mmfdta.utils.operators import install_operators
from mmfdta.version import __version__

check_environment(find_environment())
# Before anything imports `mmcv.ops`, which `mmdet.models` does.
install_operators()
import_mmdet()

__all__ = ['__version__']
