# Copyright (c) mmfdta authors.
"""Every config builds a model, and says what the released one says."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmfdta  # noqa: F401

CONFIGS = Path(__file__).parents[3] / 'configs'
# Clip length and history, depth bins, foreground weight, epochs, milestones, warm-up.
RELEASED = dict(
    fdta_dancetrack=(30, 150, 6, 13, [6, 9], 1),
    fdta_sportsmot=(60, 150, 7, 13, [8, 12], 1),
    fdta_bft=(20, 120, 10, 22, [16, 20], 2),
    motip_dancetrack=(30, None, None, 10, [6, 9], 1),
    motip_sportsmot=(60, None, None, 13, [8, 12], 1),
    motip_bft=(20, None, None, 22, [16, 20], 2),
)


@pytest.mark.parametrize('name', RELEASED)
def test_released_settings(name: str):
    window, bins, weight, epochs, milestones, warmup = RELEASED[name]
    config = Config.fromfile(CONFIGS / f'{name}.py')
    model = config.model
    assert config.train_dataloader.sampler.lengths == window
    assert config.train_dataloader.sampler.max_interval == 4
    assert model.id_decoder.max_relative_time == window
    assert model.tracker.miss_tolerance == window
    assert config.train_cfg.max_epochs == epochs
    warm_up, steps = config.param_scheduler
    assert (warm_up.end, steps.milestones, steps.end) == (warmup, milestones, epochs)
    steps_with_depth = [
        t for t in config.train_dataloader.dataset.pipeline if t.type == 'LoadClipDepth'
    ]
    if bins is None:
        assert not steps_with_depth
        assert model.detector.spatial_adapter is None
    else:
        assert len(steps_with_depth) == 1
        loss = model.detector.bbox_head.loss_depth
        assert (loss.num_bins, loss.fg_weight) == (bins, weight)
        assert model.detector.spatial_adapter.num_bins == bins


@pytest.mark.parametrize('name', [p.stem for p in sorted(CONFIGS.glob('*.py'))])
def test_every_config_builds_its_model(name: str):
    init_default_scope('mmdet')
    config = Config.fromfile(CONFIGS / f'{name}.py')
    with torch.device('meta'):
        model = MODELS.build(config.model)
    assert sum(p.numel() for p in model.parameters()) > 1e5


@pytest.fixture
def memory_filled_with_nan():
    """PyTorch fills what was allocated without values with NaN in this mode."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize('name', ['fdta_mini', 'deformable_detr_mini'])
def test_no_parameter_starts_with_what_was_in_memory(name, memory_filled_with_nan):
    init_default_scope('mmdet')
    model = MODELS.build(Config.fromfile(CONFIGS / f'{name}.py').model)
    values = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
    assert not [k for k, v in values.items() if not v.isfinite().all()]
