# Copyright (c) mmfdta authors.
"""What training needs and MMEngine lacks."""

from .optim_wrapper import (
    GroupClipAmpOptimWrapper,
    GroupClipOptimWrapper,
    GroupedOptimWrapperConstructor,
)
from .schedulers import IterWarmupLR

__all__ = [
    'GroupClipAmpOptimWrapper',
    'GroupClipOptimWrapper',
    'GroupedOptimWrapperConstructor',
    'IterWarmupLR',
]
