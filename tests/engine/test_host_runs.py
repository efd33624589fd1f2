# Copyright (c) mmfdta authors.
"""Training of FDTA on DINO by the commands: half precision, and going on later."""

from pathlib import Path

import torch
from mmengine.config import Config
from small_hosts import DEPTH, host_config
from tiny_run import logged_losses

from mmfdta.cli.main import main


def on_dino(config: Path) -> Path:
    """Put DINO into a config in place of FDTA's own detector."""
    content = Config.fromfile(config)
    content.model.detector = dict(
        type='QueryDetector',
        host=host_config('dino', classes=1),
        **DEPTH,
    )
    # DINO has no such layer.
    del content.optim_wrapper.paramwise_cfg.custom_keys['reference_points']
    content.dump(config)
    return config


def test_a_run_that_goes_on_is_one_that_never_stopped(tiny_run, tmp_path: Path):
    """To the digit, with the noise of its denoising queries, in half precision."""
    config = on_dino(
        tiny_run(
            precision='bf16',
            train_cfg__val_begin=9,
            train_dataloader__dataset__sequences=['seq1'],
            val_dataloader__dataset__sequences=['seq4'],
        )
    )
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'

    def train(work: Path, epochs: int, *options: str) -> None:
        arguments = ['train', str(config), '--work-dir', str(work), *options]
        changes = ['--cfg-options', f'train_cfg.max_epochs={epochs}']
        assert main([*arguments, *changes]) == 0

    train(whole, 2)
    train(parts, 1)
    train(parts, 2, '--resume')
    expected, found = logged_losses(whole), logged_losses(parts)
    assert found == expected and len(expected) == 6
    row = expected[6]
    assert {'dn_loss_cls', 'enc_loss_cls', 'd0.dn_loss_iou', 'loss_depth'} < {*row}
    weights = [
        torch.load(work / 'epoch_2.pth', weights_only=False)['state_dict']
        for work in (whole, parts)
    ]
    torch.testing.assert_close(*weights, rtol=0, atol=0)
    start = torch.load(parts / 'epoch_1.pth', weights_only=False)['state_dict']
    resting = {k for k in start if start[k].equal(weights[0][k])}
    assert not any(k.startswith('detector.depth_layers.') for k in resting)
    assert not any('dn_query_generator' in k for k in resting)
    assert main(['test', str(config), str(whole / 'epoch_2.pth')]) == 0
