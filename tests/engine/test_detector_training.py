# Copyright (c) mmfdta authors.
"""The plain detector is trained on single frames, and its checkpoint starts FDTA."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmfdta.cli.main import main
from mmfdta.engine.console import TrackingRunner

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def test_the_detector_of_a_run_starts_fdta(tiny_run, tmp_path: Path, capfd):
    whole = Config.fromfile(tiny_run())
    # The converter knows ResNet's bottlenecks.
    whole.model.detector.backbone.update(depth=50, base_channels=4)
    whole.model.detector.neck.in_channels = [32, 64, 128]
    plain = Config.fromfile(CONFIGS / 'deformable_detr_dancetrack.py')
    preprocessor = plain.model.data_preprocessor
    plain.model = whole.model.detector.to_dict()
    plain.model.update(spatial_adapter=None, data_preprocessor=preprocessor)
    plain.model.bbox_head.loss_depth = None
    for name in ('val', 'train'):
        loader = plain[f'{name}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.data_root = whole.train_dataloader.dataset.data_root
    loader.dataset.pipeline[2] = whole.train_dataloader.dataset.pipeline[3]
    plain.default_hooks.logger.interval = 1
    plain.train_cfg.max_epochs = 1
    plain.work_dir = str(tmp_path / 'detector')
    runner = Runner.from_cfg(plain)
    runner.train()
    # Eleven frames in batches of two.
    assert runner.iter == 6
    losses = runner.message_hub.log_scalars
    assert {'train/loss_cls', 'train/d0.loss_iou'} <= losses.keys()
    assert 'train/loss_depth' not in losses
    assert 'val/coco/bbox_mAP' in losses

    start = tmp_path / 'start.pth'
    assert main(['convert', f'{plain.work_dir}/epoch_1.pth', str(start)]) == 0
    whole.load_from = str(start)
    whole.train_cfg.max_epochs = 0
    whole.work_dir = str(tmp_path / 'fdta')
    whole.log_level = 'INFO'
    whole.experiment_name = 'fdta'
    capfd.readouterr()
    fdta = TrackingRunner.from_cfg(whole)
    fdta.train()
    shown = capfd.readouterr().out
    trained = runner.model.state_dict()
    started = fdta.model.state_dict()
    assert trained
    for name, value in trained.items():
        torch.testing.assert_close(started[f'detector.{name}'], value, rtol=0, atol=0)
    new = started.keys() - {f'detector.{name}' for name in trained}
    assert {name.split('.')[0] for name in new} == {
        'detector',  # depth attention and the Spatial Adapter
        'temporal_adapter',
        'identity_adapter',
        'trajectory_modeling',
        'id_decoder',
    }
    # The console counts them, the log file names them.
    assert f'{len(new)} weights of the model are not in the checkpoint' in shown
    (log,) = Path(whole.work_dir).rglob('*.log')
    assert 'id_decoder.word_to_embed.weight' in log.read_text()
    assert 'id_decoder' not in shown
