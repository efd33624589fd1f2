# Copyright (c) mmfdta authors.
"""Every config builds a model, and says what the released one says."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.registry import DATA_SAMPLERS, DATASETS, METRICS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmfdta.registry  # noqa: F401
from mmfdta.datasets.sequences import Sequence, SequenceAnnotations
from mmfdta.models.detectors.depth import share_depth_bins
from mmfdta.models.mot.fdta import share_sizes
from mmfdta.structures.tracks import Tracks

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
    sizes = share_sizes(model)
    assert sizes['id_decoder']['max_relative_time'] == window
    assert sizes['tracker']['miss_tolerance'] == window
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
        adapter, loss = share_depth_bins(
            model.detector.spatial_adapter, model.detector.bbox_head.loss_depth
        )
        assert (loss['num_bins'], loss['fg_weight']) == (bins, weight)
        assert adapter['num_bins'] == bins


# Epochs, the one of the smaller learning rate, sampler_steps and largest interval.
RELEASED_MOTR = dict(
    motr_dancetrack=(20, 10, [5, 9, 15], 11), motr_mot17=(200, 100, [50, 90, 150], 10)
)


@pytest.mark.parametrize('name', RELEASED_MOTR)
def test_released_settings_of_motr(name: str):
    epochs, drop, steps, interval = RELEASED_MOTR[name]
    config = Config.fromfile(CONFIGS / f'{name}.py')
    sampler = config.train_dataloader.sampler
    assert sampler.max_interval == interval
    assert config.train_cfg.max_epochs == epochs
    assert [s.milestones for s in config.param_scheduler] == [[drop]]
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay) == (2e-4, 1e-4)
    mults = {v.lr_mult for v in config.optim_wrapper.paramwise_cfg.custom_keys.values()}
    assert mults == {0.1}
    assert config.model.query_sampling == dict(
        drop_prob=0.1, insert_prob=0.3, min_iou=0.5
    )
    tracker = config.model.tracker
    assert (tracker.newborn_thr, tracker.keep_thr, tracker.det_thr) == (0.7, 0.6, 0.7)
    assert (tracker.miss_tolerance, tracker.area_thr) == (5, 100)
    # A clip has a frame more from each of the steps on, beginning with two.
    video = Sequence('video', '', np.array(['1.jpg'] * 20), _one_object_a_frame(20))
    dataset = SimpleNamespace(sequences=[video], sequence_weights=[1])
    clips = DATA_SAMPLERS.build(dict(sampler, dataset=dataset, seed=0))
    for epoch in range(epochs):
        clips.set_epoch(epoch)
        length = 2 + sum(epoch >= step for step in steps)
        assert {len(clip.frames) for clip in clips} == {length}


def _one_object_a_frame(length: int) -> SequenceAnnotations:
    tracks = Tracks.create(np.arange(length) + 1, np.ones(length), np.ones((length, 4)))
    return SequenceAnnotations.create(tracks, length)


@pytest.mark.parametrize('name', [p.stem for p in sorted(CONFIGS.glob('*.py'))])
def test_every_config_builds_its_model(name: str):
    init_default_scope('mmdet')
    config = Config.fromfile(CONFIGS / f'{name}.py')
    # Swin reads values of tensors when it is made.
    with torch.device('cpu' if '_dino-swin' in name else 'meta'):
        model = MODELS.build(config.model)
    assert sum(p.numel() for p in model.parameters()) > 1e5


def test_every_config_is_scored_by_the_rules_of_its_data_set():
    """The part of its name behind the last underscore says which."""
    benchmarks = dict(mini='minidance', demo='minidance', coco='mot_challenge')
    seen = set()
    for path in sorted(CONFIGS.glob('*.py')):
        config = Config.fromfile(path)
        for side in ('val', 'test'):
            settings = config.get(f'{side}_evaluator')
            if settings is None or settings.type != 'MOTMetric':
                continue
            metric = METRICS.build(settings)
            kind = DATASETS.get(config[f'{side}_dataloader'].dataset.type)
            metric.dataset_meta = kind.METAINFO
            name = path.stem.rpartition('_')[2]
            name = benchmarks.get(name, name)
            assert metric._benchmark() == name
            seen.add(name)
    assert seen == {
        'dancetrack',
        'sportsmot',
        'bft',
        'pets',
        'mot17',
        'minidance',
        'mot_challenge',
    }


@pytest.fixture
def memory_filled_with_nan():
    """PyTorch fills what was allocated without values with NaN in this mode."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize('name', ['fdta_mini', 'motr_mini', 'deformable_detr_mini'])
def test_no_parameter_starts_with_what_was_in_memory(name, memory_filled_with_nan):
    init_default_scope('mmdet')
    model = MODELS.build(Config.fromfile(CONFIGS / f'{name}.py').model)
    values = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
    assert not [k for k, v in values.items() if not v.isfinite().all()]
