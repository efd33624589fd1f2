# Copyright (c) mmfdta authors.
"""MOTR in the standard runner, on a tiny MiniDance."""

import json
import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

CONFIG = Path(__file__).parents[2] / 'configs/motr_mini.py'
OPTIONS = dict(
    width=96, height=64, frames=6, train=2, val=1, test=1, min_dancers=2, max_dancers=3
)
STEPS = 4


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = Config.fromfile(CONFIG)
    config.work_dir = str(tmp_path / 'work')
    config.train_cfg.update(max_iters=STEPS, val_interval=STEPS)
    config.default_hooks.logger.interval = 1
    config.default_hooks.checkpoint.interval = STEPS
    # All queries are tracks.
    config.model.query_sampling.min_iou = -1.0
    config.model.tracker.update(newborn_thr=0.0, keep_thr=0.0, det_thr=0.0)
    for name in ('train', 'val', 'test'):
        loader = config[f'{name}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.update(data_root=str(tmp_path / 'data'), options=OPTIONS)
    return config


def test_it_trains_validates_and_saves(config: Config):
    runner = Runner.from_cfg(config)
    before = {k: v.clone() for k, v in runner.model.state_dict().items()}
    runner.train()
    (log,) = Path(config.work_dir).rglob('scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    losses = [row['loss'] for row in rows if 'loss' in row]
    assert len(losses) == STEPS
    assert all(math.isfinite(loss) for loss in losses)
    assert any('mot/HOTA' in row for row in rows)
    saved = torch.load(Path(config.work_dir) / f'iter_{STEPS}.pth', weights_only=False)[
        'state_dict'
    ]
    assert saved.keys() == before.keys()
    of_tracks = [k for k in saved if k.startswith('query_interaction') or 'track_' in k]
    assert len(of_tracks) > 30
    assert all(not torch.equal(saved[k], before[k]) for k in of_tracks)
