# Copyright (c) mmfdta authors.
"""The project's full model for the benchmarks, with random weights."""

from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmfdta.registry  # noqa: F401
from mmfdta.models import FDTA
from mmfdta.ops import accelerate

CONFIG = Path(__file__).parents[1] / 'configs/fdta_dancetrack.py'


def build_fdta(window: int = 30, num_id_vocabulary: int = 50) -> FDTA:
    """Build the accelerated model of the DanceTrack config.

    Args:
        window: Frames that association looks back.
        num_id_vocabulary: ID words.
    """
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = Config.fromfile(CONFIG).model
    model.update(window=window, num_id_vocabulary=num_id_vocabulary)
    return accelerate(MODELS.build(model))


def make_frames(count: int, height: int, width: int) -> list[DetDataSample]:
    """Make frames without padding and without annotations."""
    size = height, width
    meta = dict(img_shape=size, ori_shape=size, batch_input_shape=size, frame_id=1)
    return [DetDataSample(metainfo=meta) for _ in range(count)]
