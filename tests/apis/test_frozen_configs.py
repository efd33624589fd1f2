# Copyright (c) mmfdta authors.
"""Configs as 0.1 wrote them into work_dirs do what today's configs do.

The small FDTA of 0.1, and its detector, is today's with depth attention.

``frozen_configs/NAME.txt`` is what ``Config.dump`` of mmfdta 0.1 gave for
``configs/NAME.py``. Never write them again.
"""

import copy
from pathlib import Path

import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from mmfdta.apis.config import find_config, load_config
from mmfdta.apis.config_check import ConfigError, check_config
from mmfdta.datasets import ClipIndex
from mmfdta.minidance import MiniDanceOptions, make_minidance

FROZEN = Path(__file__).parent / 'frozen_configs'
WITH_ATTENTION = 'fdta-depth-attention_mini'
NAMES = ('fdta_mini', 'bytetrack_fdta-det_mini', 'deformable_detr_mini')
OPTIONS = dict(width=96, height=64, frames=5, train=1, val=0, test=1, seed=11)
EVERYTHING = dict(
    FDTATracker=dict(det_thr=0.0, newborn_thr=0.0, id_thr=0.0),
    ByteTracker=dict(obj_score_thrs=dict(high=0.0, low=0.0), init_track_thr=0.0),
)
IMPORTS = "['mmfdta.registry']"


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('set') / 'minidance'
    assert make_minidance(root, MiniDanceOptions(**OPTIONS), processes=1)
    return root


def read_pair(name: str, folder: Path) -> tuple[Config, Config]:
    """Return the config of 0.1 with the one change that is asked for, and today's."""
    path = folder / f'{name}.py'
    text = (FROZEN / f'{name}.txt').read_text()
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    message = str(error.value)
    assert '\n' not in message and IMPORTS in message
    old = "[\n        'mmfdta',\n        'mmfdta.datasets.minidance',\n    ]"
    assert text.count(old) == 1
    path.write_text(text.replace(old, IMPORTS))
    today = WITH_ATTENTION if name == 'fdta_mini' else name
    configs = load_config(path), load_config(find_config(today))
    if name == 'bytetrack_fdta-det_mini':
        configs[1].model.detector = load_config(WITH_ATTENTION).model.detector
    for config in configs:
        check_config(config)
    return configs


def load(config: Config, loader: str, frames: tuple[int, ...], root: Path) -> dict:
    """Load a clip of a loader's first sequence, as a batch."""
    settings = copy.deepcopy(config[loader].dataset)
    settings.update(data_root=str(root), options=OPTIONS)
    dataset = DATASETS.build(settings)
    return pseudo_collate([dataset[ClipIndex(0, frames, seed=(5,))]])


def loss_of(model: torch.nn.Module, batch: dict) -> dict:
    torch.manual_seed(1)
    batch = model.train().data_preprocessor(batch, training=True)
    return model(**batch, mode='loss')


def same(one, other) -> None:
    """Compare data samples, tensors and what holds them, to the bit."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            same(*pair)
    elif hasattr(one, 'all_items'):
        same(dict(one.all_items()), dict(other.all_items()))
    else:
        assert one == other


@pytest.mark.parametrize('name', NAMES)
def test_model_data_and_results_are_those_of_today(name: str, tmp_path, root):
    pair = read_pair(name, tmp_path)
    models = []
    for config in pair:
        if 'tracker' in config.model:  # random weights are never sure
            config.model.tracker.update(EVERYTHING[config.model.tracker.type])
        torch.manual_seed(0)
        models.append(MODELS.build(config.model))
        models[-1].init_weights()
    same(*[dict(model.state_dict()) for model in models])
    if pair[0].get('train_dataloader'):
        frames = (1, 3) if name == 'fdta_mini' else (1,)
        clips = [load(config, 'train_dataloader', frames, root) for config in pair]
        losses = [loss_of(*both) for both in zip(models, clips, strict=True)]
        assert len(losses[0]) > 3
        same(*losses)
    if pair[0].get('test_dataloader'):
        for frame in range(3):
            clips = [load(config, 'test_dataloader', (frame,), root) for config in pair]
            same(*clips)
            with torch.no_grad():
                tracks = [
                    model.eval().test_step(clip)[0][0].pred_track_instances
                    for model, clip in zip(models, clips, strict=True)
                ]
            assert len(tracks[0]) > 0
            for key in ('bboxes', 'instances_id', 'scores', 'labels'):
                same(*[found[key] for found in tracks])
