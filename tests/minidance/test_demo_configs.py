# Copyright (c) mmfdta authors.
"""The mini configs: the full model's classes, and weights that fit together."""

import copy

import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from mmfdta.apis.config import find_config
from mmfdta.datasets import ClipIndex
from mmfdta.datasets.transforms import UnpackFrame
from mmfdta.minidance import MiniDanceOptions

SMALL = dict(train=1, val=0, test=0, frames=20, width=128, height=96)


@pytest.fixture(scope='module')
def configs():
    init_default_scope('mmdet')
    names = ('fdta_dancetrack', 'fdta_mini', 'deformable_detr_mini')
    return {name: Config.fromfile(find_config(name)) for name in names}


def build(config):
    return MODELS.build(copy.deepcopy(config.model))


def sample(config, root, frames):
    settings = copy.deepcopy(config.train_dataloader.dataset)
    settings.update(data_root=str(root), options=SMALL)
    return DATASETS.build(settings)[ClipIndex(0, frames, (0,))]


def types(config):
    """Every `type` of a nested config."""
    found = set()
    if isinstance(config, dict):
        found |= {config['type']} if 'type' in config else set()
        for value in config.values():
            found |= types(value)
    return found


def test_the_small_model_has_the_classes_of_the_full_one(configs):
    full, mini = (configs[name].model for name in ('fdta_dancetrack', 'fdta_mini'))
    assert types(mini) == types(full)
    needed = {'SpatialAdapter', 'TemporalAdapter', 'IdentityAdapter', 'IDDecoder'}
    assert needed < types(mini)


def test_the_detector_starts_fdta(configs):
    detector, model = (
        build(configs['deformable_detr_mini']),
        build(configs['fdta_mini']),
    )
    given = {f'detector.{name}': w.shape for name, w in detector.state_dict().items()}
    wanted = {name: w.shape for name, w in model.state_dict().items()}
    assert given.items() <= wanted.items()
    new = [n for n in wanted if n.startswith('detector.') and n not in given]
    assert new
    assert all('spatial_adapter' in n or 'depth_' in n for n in new)


def test_the_detector_trains_on_single_frames(configs, tmp_path):
    config = configs['deformable_detr_mini']
    model = build(config)
    data = [sample(config, tmp_path / 'set', (number,)) for number in (3, 9)]
    batch = model.data_preprocessor(pseudo_collate(data), True)
    assert batch['inputs'].shape == (2, 3, 96, 128)
    losses = model(**batch, mode='loss')
    total = sum(losses.values())
    total.backward()
    assert total.isfinite()
    assert not any('depth' in name for name in losses)
    grads = [p.grad for p in model.parameters() if p.requires_grad]
    assert sum(g is not None and bool(g.any()) for g in grads) > 0.8 * len(grads)


def test_fdta_trains_on_clips_with_depth(configs, tmp_path):
    config = configs['fdta_mini']
    model = build(config)
    data = sample(config, tmp_path / 'set', tuple(range(16)))
    assert data['inputs']['depth'].float().std() > 1
    batch = model.data_preprocessor(pseudo_collate([data]), True)
    losses = model(**batch, mode='loss')
    assert {'loss_id', 'loss_contrastive', 'loss_depth', 'loss_cls'} <= set(losses)
    # No match of an untrained detector is good enough for the contrastive loss.
    assert losses.pop('loss_contrastive') >= 0
    assert all(value.isfinite() and value > 0 for value in losses.values())


def test_clips_are_not_longer_than_what_association_knows(configs):
    config = configs['fdta_mini']
    length = config.train_dataloader.sampler.lengths
    targets = config.train_pipeline[-2]
    assert length <= config.model.window
    assert targets.vocab == config.model.num_id_vocabulary
    assert MiniDanceOptions().max_dancers <= targets.vocab


def test_unpacking_takes_one_frame_and_no_more():
    clip = dict(inputs=dict(img=torch.zeros(2, 3, 4, 4)), data_samples=None)
    with pytest.raises(ValueError, match='clip of 2 frames, expected one'):
        UnpackFrame().transform(clip)


def test_unpacking_keeps_the_depth_map():
    depth = torch.arange(12, dtype=torch.uint8).view(1, 1, 3, 4)
    inputs = dict(img=torch.zeros(1, 3, 3, 4), depth=depth)
    clip = dict(inputs=inputs, data_samples=[DetDataSample()])
    found = UnpackFrame().transform(clip)['data_samples'].gt_depth.data
    assert torch.equal(found, depth[0]) and found.dtype == torch.uint8
