# Copyright (c) mmfdta authors.
"""A small training run: what it logs, averages and keeps."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from mmfdta.evaluation import MOTMetric

MOMENTUM = 0.25
SCORES = [0.3, 0.5, 0.4]
PARTS = ('detector', 'identity_adapter', 'other')
GROUPS = ('other', 'backbone', 'sampling_offsets-reference_points')


class WatchWeights(Hook):
    """Averages one weight as exponential moving averages do."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.average = None

    def weight(self, runner: Runner) -> torch.Tensor:
        return runner.model.id_decoder.embed_to_word.weight.detach().clone()

    def before_train(self, runner: Runner) -> None:
        self.average = self.weight(runner)

    def after_train_iter(self, runner: Runner, batch_idx: int, **_) -> None:
        self.average.lerp_(self.weight(runner), MOMENTUM)


@pytest.fixture
def run(tiny_run, monkeypatch) -> tuple[Path, WatchWeights]:
    """Three epochs of three clips, with given scores."""
    scores = iter(SCORES)
    evaluate = MOTMetric.evaluate

    def given(self, size: int) -> dict[str, float]:
        return {**evaluate(self, size), 'mot/HOTA': next(scores)}

    monkeypatch.setattr(MOTMetric, 'evaluate', given)
    config = Config.fromfile(
        tiny_run(
            train_cfg__max_epochs=3,
            train_dataloader__dataset__sequences=['seq1'],
            val_dataloader__dataset__sequences=['seq4'],
            visualizer__vis_backends=[
                dict(type='LocalVisBackend'),
                dict(type='TensorboardVisBackend'),
            ],
        )
    )
    config.custom_hooks.append(dict(type='EMAHook', momentum=MOMENTUM))
    runner = Runner.from_cfg(config)
    watch = WatchWeights()
    runner.register_hook(watch)
    runner.train()
    runner.visualizer.close()
    return Path(config.work_dir), watch


def test_a_run_logs_averages_and_keeps_the_best(run):
    work, watch = run
    (log,) = work.rglob('scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    rows = [row for row in rows if 'loss' in row]
    assert len(rows) == 9
    losses = {
        f'{prefix}{name}'
        for prefix in ('', 'd0.', 'd1.')
        for name in ('loss_cls', 'loss_bbox', 'loss_iou')
    } | {'loss_depth', 'loss_contrastive', 'loss_id'}
    expected = losses | {'time', 'data_time', 'lr'}
    expected |= {f'grad_norm_{part}' for part in PARTS}
    expected |= {f'{group}_lr' for group in GROUPS}
    for i, row in enumerate(rows):
        assert expected <= row.keys()
        assert row['loss'] == pytest.approx(sum(row[k] for k in losses), rel=1e-4)
        rate = 1e-4 * min(1, (i + 1) / 3)
        for group, scale in zip(GROUPS, (1, 0.1, 0.05), strict=True):
            assert row[f'{group}_lr'] == pytest.approx(rate * scale)
    (text,) = work.rglob('*.log')
    assert len(re.findall(r'Epoch\(train\).* eta: \d', text.read_text())) == 9

    saved = torch.load(work / 'epoch_3.pth', weights_only=False)
    key = 'id_decoder.embed_to_word.weight'
    torch.testing.assert_close(saved['state_dict'][key], watch.average)
    trained = saved['ema_state_dict'][f'module.{key}']
    assert not torch.equal(trained, watch.average)

    assert [p.name for p in work.glob('best_*')] == ['best_mot_HOTA_epoch_2.pth']
    assert saved['message_hub']['runtime_info']['best_score'] == 0.5

    (path,) = work.rglob('events.out.tfevents.*')
    drawn = {
        (value.tag, event.step)
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    }
    for name in sorted(expected):
        assert (name, 9) in drawn, name
    assert ('mot/HOTA', 3) in drawn
    assert all(math.isfinite(v) for row in rows for v in row.values())
