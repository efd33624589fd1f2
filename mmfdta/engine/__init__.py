# Copyright (c) mmfdta authors.
"""What training needs and MMEngine lacks."""

from .loops import ResumableEpochTrainLoop
from .optim_wrapper import (
    GroupClipAmpOptimWrapper,
    GroupClipOptimWrapper,
    GroupedOptimWrapperConstructor,
)
from .schedulers import IterWarmupLR
from .seed_hook import IterationSeedHook

__all__ = [
    'GroupClipAmpOptimWrapper',
    'GroupClipOptimWrapper',
    'GroupedOptimWrapperConstructor',
    'IterWarmupLR',
    'IterationSeedHook',
    'ResumableEpochTrainLoop',
]
