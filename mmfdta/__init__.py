# Copyright (c) mmfdta authors.
"""FDTA and its neighbours as registry classes of MMDetection.

Importing this package checks the installed family of packages, makes MMCV's operators
available and registers every class of the project. The order matters: the check comes
before anything that needs PyTorch or MMDetection, and the operators before anything
that imports `mmcv.ops`, which `mmdet.models` does.
"""

from mmfdta.utils.environment import check_environment, find_environment, import_mmdet
from mmfdta.version import __version__

check_environment(find_environment())

from mmfdta.utils.operators import install_operators

install_operators()
import_mmdet()

from mmfdta.utils.safe_loading import allow_training_state

allow_training_state()

from mmfdta import datasets, engine, evaluation, models, visualization

__all__ = [
    '__version__',
    'datasets',
    'engine',
    'evaluation',
    'models',
    'visualization',
]
