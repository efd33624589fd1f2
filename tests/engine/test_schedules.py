# Copyright (c) mmfdta authors.
"""Learning rates of the configs beside the rule of the released code."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS, PARAM_SCHEDULERS
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmfdta.apis.config import load_config
from mmfdta.apis.train import apply_training_options
from mmfdta.engine import TrackingRunner

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
# Epochs, epochs of warm-up, milestones: the released settings.
RELEASED = {
    'fdta_dancetrack': (13, 1, (6, 9)),
    'fdta_sportsmot': (13, 1, (8, 12)),
    'fdta_bft': (22, 2, (16, 20)),
    'deformable_detr_dancetrack': (20, 0, (15,)),
    'deformable_detr_sportsmot': (20, 0, (15,)),
    'deformable_detr_bft': (60, 0, (45,)),
}
ITERS = 4


def _rates(config: Config, base: float) -> list[float]:
    """Learning rate of every iteration, stepped as MMEngine's hook steps."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    schedulers = []
    for cfg in config.param_scheduler:
        cfg = dict(cfg)
        kind = PARAM_SCHEDULERS.get(cfg.pop('type'))
        if cfg.pop('convert_to_iter_based', False):
            made = kind.build_iter_from_epoch(optimizer, epoch_length=ITERS, **cfg)
        else:
            made = kind(optimizer, **cfg)
        schedulers.append(made)
    rates = []
    for _ in range(config.train_cfg.max_epochs):
        for _ in range(ITERS):
            rates.append(optimizer.param_groups[0]['lr'])
            optimizer.step()
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
        for scheduler in schedulers:
            if scheduler.by_epoch:
                scheduler.step()
    return rates


@pytest.mark.parametrize('name', RELEASED)
def test_learning_rates_are_the_released_ones(name: str):
    epochs, warmup, milestones = RELEASED[name]
    config = Config.fromfile(CONFIGS / f'{name}.py')
    base = config.optim_wrapper.optimizer.lr
    expected = []
    for epoch in range(epochs):
        for i in range(ITERS):
            rate = 1e-4 * 0.1 ** sum(epoch >= m for m in milestones)
            if epoch < warmup:
                rate = 1e-4 * (epoch * ITERS + i + 1) / (warmup * ITERS)
            expected.append(rate)
    assert _rates(config, base) == pytest.approx(expected)


@pytest.mark.parametrize('name', ['fdta_dancetrack', 'deformable_detr_dancetrack'])
def test_every_parameter_is_in_the_group_of_the_released_rule(name: str):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    init_default_scope('mmdet')
    model = MODELS.build(config.model)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    found = {}
    for group in wrapper.optimizer.param_groups:
        for param in group['params']:
            assert id(param) not in found
            found[id(param)] = group['lr'], group['weight_decay'], group['name']
    for key, param in model.named_parameters():
        scale, group = 1.0, 'other'
        if 'backbone.' in key:
            scale, group = 0.1, 'backbone'
        if 'sampling_offsets' in key or 'reference_points' in key:
            scale, group = 0.05, 'sampling_offsets-reference_points'
        frozen = 'backbone.' in key and any(
            part in key for part in ('bn', 'downsample.1', 'backbone.conv1', 'layer1.')
        )
        if frozen:
            assert id(param) not in found, key
        else:
            assert found.pop(id(param)) == (pytest.approx(1e-4 * scale), 5e-4, group)
    assert not found
    rates = wrapper.get_lr()
    assert rates['backbone_lr'] == [pytest.approx(1e-5)]
    assert rates['sampling_offsets-reference_points_lr'] == [pytest.approx(5e-6)]
    assert rates['other_lr'] == [pytest.approx(1e-4)]


# Clips (frames for plain detectors) of a step and the learning rate of the commands
# that the released READMEs and scripts print.
LAUNCHED = {
    'fdta_dancetrack': (4, 1e-4),
    'fdta_sportsmot': (4, 1e-4),
    'fdta_bft': (4, 1e-4),
    'motip_dancetrack': (8, 1e-4),
    'motip_sportsmot': (8, 1e-4),
    'motip_bft': (8, 1e-4),
    'motr_dancetrack': (8, 2e-4),
    'motr_mot17': (8, 2e-4),
    'deformable_detr_dancetrack': (16, 1e-4),
    'deformable_detr_sportsmot': (16, 1e-4),
    'deformable_detr_bft': (16, 1e-4),
}


def _scaled(name: str, processes: int, accumulated: int = 1) -> list[float]:
    """Learning rates after MMEngine's own scaling in a job of some processes."""
    config = load_config(
        str(CONFIGS / f'{name}.py'), {'optim_wrapper.accumulative_counts': accumulated}
    )
    apply_training_options(config, auto_scale_lr=True)
    weight = torch.nn.Parameter(torch.zeros(1))
    wrapper = OptimWrapper(
        torch.optim.SGD([weight], lr=config.optim_wrapper.optimizer.lr)
    )
    runner = SimpleNamespace(
        _train_dataloader=config.train_dataloader,
        world_size=processes,
        logger=logging.getLogger(__name__),
        param_schedulers=config.param_scheduler,
    )
    Runner.scale_lr(runner, wrapper, config.auto_scale_lr)
    return wrapper.get_lr()['lr']


@pytest.mark.parametrize('name', LAUNCHED)
def test_the_released_launch_keeps_its_learning_rate(name: str):
    clips, rate = LAUNCHED[name]
    batch = Config.fromfile(CONFIGS / f'{name}.py').train_dataloader.batch_size
    processes = clips // batch
    assert _scaled(name, processes) == pytest.approx([rate])
    assert _scaled(name, 1, accumulated=processes) == pytest.approx([rate])
    assert _scaled(name, 2 * processes) == pytest.approx([2 * rate])


@pytest.mark.parametrize(
    ('accumulated', 'enable', 'said'),
    [(1, False, True), (4, False, False), (1, True, False)],
)
def test_a_batch_that_is_not_the_rates_is_said(
    accumulated: int, enable: bool, said: bool
):
    weight = torch.nn.Parameter(torch.zeros(1))
    wrapper = OptimWrapper(torch.optim.SGD([weight], lr=1e-4), accumulated)
    runner = TrackingRunner.__new__(TrackingRunner)
    lines: list[str] = []
    runner.logger = SimpleNamespace(info=lines.append)
    runner._train_dataloader = dict(batch_size=1)
    runner._world_size = 1
    runner.param_schedulers = None
    settings = Config.fromfile(CONFIGS / 'fdta_dancetrack.py').auto_scale_lr
    runner.scale_lr(wrapper, dict(settings, enable=enable))
    hints = [line for line in lines if '--auto-scale-lr' in line]
    assert len(hints) == said
    assert all('for 4 samples' in h and 'this run has 1:' in h for h in hints)
