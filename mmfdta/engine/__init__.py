# Copyright (c) mmfdta authors.
"""Loops, hooks, optimiser wrapper, precision and console beyond those of MMEngine."""

from mmfdta.utils.environment import prepare_mmdet

prepare_mmdet()

from .checkpoint_hook import (
    ExactWeightsHook,
    WholeCheckpointHook,
    find_checkpoint_to_resume,
    resume_from_work_dir,
)
from .console import TrackingLogProcessor, TrackingRunner, quiet_console
from .finite_loss_hook import FiniteLossHook, NonFiniteLossError
from .loops import (
    IterationSeedHook,
    ResumableEpochTrainLoop,
    ResumableIterTrainLoop,
)
from .optim_wrapper import (
    GroupClipAmpOptimWrapper,
    GroupClipOptimWrapper,
    GroupedOptimWrapperConstructor,
    IterWarmupLR,
)
from .precision import (
    PRECISIONS,
    Precision,
    find_precision,
    hold_half_weights,
    keep_precision,
)
from .track_hooks import ValTrackVisualizationHook, WorstSequencesHook
from .weights import adapt_to_config, described_data

__all__ = [
    'ExactWeightsHook',
    'FiniteLossHook',
    'GroupClipAmpOptimWrapper',
    'GroupClipOptimWrapper',
    'GroupedOptimWrapperConstructor',
    'IterWarmupLR',
    'IterationSeedHook',
    'NonFiniteLossError',
    'PRECISIONS',
    'Precision',
    'ResumableEpochTrainLoop',
    'ResumableIterTrainLoop',
    'TrackingLogProcessor',
    'TrackingRunner',
    'ValTrackVisualizationHook',
    'WholeCheckpointHook',
    'WorstSequencesHook',
    'adapt_to_config',
    'described_data',
    'find_checkpoint_to_resume',
    'find_precision',
    'hold_half_weights',
    'keep_precision',
    'quiet_console',
    'resume_from_work_dir',
]
