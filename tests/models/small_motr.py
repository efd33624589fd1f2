# Copyright (c) mmfdta authors.
"""A small MOTR with every part of the full one."""

from pathlib import Path

from mmengine.config import Config
from small_fdta import small_config

BASE = Path(__file__).parents[2] / 'configs/_base_/models/motr_r50.py'


def small_motr_config() -> Config:
    """The full model's config with small numbers."""
    detector = small_config().detector
    for part in ('spatial_adapter', 'type'):
        detector.pop(part)
    for part in ('loss_depth', 'matcher', 'type'):
        detector.bbox_head.pop(part)
    model = Config.fromfile(BASE).model
    model.detector.update(detector)
    model.query_interaction.update(num_heads=4, feedforward_channels=48)
    return model
