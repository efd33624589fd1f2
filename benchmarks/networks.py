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
from mmfdta.models.trackers import TrajectoryHistory
from mmfdta.ops import accelerate

SIZES = ((256, 456), (480, 864), (800, 1440))
"""Height and width of the frames that a detector is measured on."""
OBJECTS = (10, 30, 50)
"""Detections and tracks that association is measured on."""
HISTORY = 29
"""Frames of a full history."""

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


def make_history(frames: int, objects: int) -> TrajectoryHistory:
    """Make a history of random embeddings; each is missing in a tenth of the frames."""
    return TrajectoryHistory(
        torch.randn(frames, objects, 256),
        torch.rand(frames, objects) < 0.1,
        torch.arange(objects),
    )


def make_frames(count: int, height: int, width: int) -> list[DetDataSample]:
    """Make frames without padding and without annotations."""
    size = height, width
    meta = dict(img_shape=size, ori_shape=size, batch_input_shape=size, frame_id=1)
    return [DetDataSample(metainfo=meta) for _ in range(count)]
