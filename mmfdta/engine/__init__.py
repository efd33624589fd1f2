# Copyright (c) mmfdta authors.
"""What training needs and MMEngine lacks."""

from .loops import ResumableEpochTrainLoop, ResumableIterTrainLoop
from .optim_wrapper import (
    GroupClipAmpOptimWrapper,
    GroupClipOptimWrapper,
    GroupedOptimWrapperConstructor,
)
from .schedulers import IterWarmupLR
from .seed_hook import IterationSeedHook
from .track_visualization_hook import ValTrackVisualizationHook
from .worst_sequences_hook import WorstSequencesHook

__all__ = [
    'ValTrackVisualizationHook',
    'WorstSequencesHook',
    'GroupClipAmpOptimWrapper',
    'GroupClipOptimWrapper',
    'GroupedOptimWrapperConstructor',
    'IterWarmupLR',
    'IterationSeedHook',
    'ResumableEpochTrainLoop',
    'ResumableIterTrainLoop',
]
