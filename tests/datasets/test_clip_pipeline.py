# Copyright (c) mmfdta authors.
"""The whole pipeline through a runner's data loader: contract, seeds, depth."""

import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from PIL import Image

from mmfdta.datasets import MOTSequenceDataset

CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


def _loaders(name, root, length=3, workers=0):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    for key in ('train_dataloader', 'val_dataloader'):
        if config.get(key):
            config[key].dataset.data_root = str(root)
            config[key].num_workers = workers
            config[key].persistent_workers = workers > 0
    config.train_dataloader.sampler.lengths = length
    return config


def _samples(loader_config, seed=0, epoch=0, skip=0):
    loader = Runner.build_dataloader(copy.deepcopy(loader_config), seed=seed)
    loader.sampler.set_epoch(epoch)
    loader.sampler.skip(skip)
    return [(b['inputs'], b['data_samples'][0]) for b in loader]


@pytest.fixture
def dance(tmp_path, make_sequence):
    for split in ('train', 'val'):
        make_sequence(tmp_path / split / 'a', 5, size=(90, 160), depth=True)
    return tmp_path


def test_training_sample_is_as_agreed(dance):
    config = _loaders('dancetrack', dance)
    samples = _samples(config.train_dataloader)
    assert len(samples) == 3
    for inputs, sample in samples:
        image, depth = inputs['img'][0], inputs['depth'][0]
        assert image.dtype == depth.dtype == torch.uint8
        assert image.shape[:2] == (3, 3) and depth.shape[:2] == (3, 1)
        assert image.shape[2:] == depth.shape[2:]
        assert len(sample) == 3
        targets = sample.id_targets[0]
        num_columns = targets.unknown_id_masks.shape[2]
        for side in ('trajectory', 'unknown'):
            labels = targets.get(f'{side}_id_labels')
            masks = targets.get(f'{side}_id_masks')
            indices = targets.get(f'{side}_ann_idxs')
            assert labels.shape == masks.shape == indices.shape == (6, 3, num_columns)
            assert labels.dtype == indices.dtype == torch.int64
            assert masks.dtype == torch.bool
            for t in range(3):
                assert indices[:, t].max() < len(sample[t].gt_instances)
        for frame in sample:
            boxes = frame.gt_instances
            assert boxes.bboxes.dtype == torch.float32 and boxes.bboxes.shape[1] == 4
            assert boxes.labels.dtype == boxes.instances_ids.dtype == torch.int64
            assert frame.img_shape == tuple(image.shape[2:])
            assert frame.ori_shape == (90, 160) and frame.video_length == 5
            assert (frame.sequence, frame.dataset) == ('a', 'DanceTrack')
            assert os.path.isfile(frame.img_path)
            assert frame.img_path.endswith(f'{frame.frame_id + 1:06d}.jpg')


def test_test_sample_is_as_agreed(dance):
    config = _loaders('dancetrack', dance)
    loader = Runner.build_dataloader(config.val_dataloader, seed=0)
    batches = list(loader)
    assert len(batches) == 5
    for t, batch in enumerate(batches):
        frame = batch['data_samples'][0][0]
        image = batch['inputs']['img'][0]
        assert image.shape == (1, 3, 800, 1422) and frame.img_shape == (800, 1422)
        assert frame.frame_id == t
        scale = np.array(frame.scale_factor * 2)
        boxes = frame.gt_instances
        expected = boxes.xywh.numpy().copy()
        expected[:, 2:] += expected[:, :2]
        np.testing.assert_allclose(boxes.bboxes.numpy(), expected * scale, atol=1e-3)
        with Image.open(frame.img_path) as picture:
            picture = picture.resize((1422, 800), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(image[0].permute(1, 2, 0), np.asarray(picture))


@pytest.mark.parametrize('name', ['sportsmot', 'bft', 'mot17', 'crowdhuman'])
def test_other_configs_load(tmp_path, make_sequence, name):
    if name == 'crowdhuman':
        (tmp_path / 'Images').mkdir()
        Image.new('RGB', (90, 60), 'red').save(tmp_path / 'Images' / 'a,b.jpg')
        (tmp_path / 'annotation_train.odgt').write_text(
            '{"ID": "a,b", "gtboxes": [{"tag": "person", "fbox": [20, 9, 50, 40]}]}\n'
        )
    else:
        for split in ('train', 'val', 'test'):
            make_sequence(tmp_path / split / 'a-FRCNN', 10)
    config = _loaders(name, tmp_path)
    inputs, sample = _samples(config.train_dataloader)[0]
    assert inputs['img'][0].shape[:2] == (3, 3) and len(sample) == 3
    assert inputs['depth'] == [None]
    if config.get('val_dataloader'):
        loader = Runner.build_dataloader(config.val_dataloader, seed=0)
        assert next(iter(loader))['inputs']['img'][0].shape[0] == 1


def _equal(one, other):
    return all(
        torch.equal(a[0]['img'][0], b[0]['img'][0])
        and torch.equal(
            a[1].id_targets[0].unknown_id_labels, b[1].id_targets[0].unknown_id_labels
        )
        for a, b in zip(one, other, strict=True)
    )


def test_samples_depend_on_seed_and_epoch_only(dance):
    config = _loaders('dancetrack', dance).train_dataloader
    parallel = _loaders('dancetrack', dance, workers=2).train_dataloader
    alone = _samples(config)
    torch.manual_seed(5)
    np.random.seed(5)
    assert _equal(alone, _samples(parallel))
    assert _equal(_samples(config, epoch=1, skip=1), _samples(config, epoch=1)[1:])
    assert not _equal(alone[:2], _samples(config, epoch=1)[:2])
    assert not _equal(alone[:2], _samples(config, seed=1)[:2])


def test_depth_follows_the_image(dance):
    config = _loaders('dancetrack', dance).train_dataloader
    config.dataset.pipeline = [
        step for step in config.dataset.pipeline if step.type != 'ClipColorJitter'
    ]
    for inputs, _ in _samples(config):
        image, depth = inputs['img'][0].float(), inputs['depth'][0].float()
        weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        grey = (image * weights).sum(dim=1, keepdim=True)
        # The maps are the grey of the images before JPEG compression.
        assert (grey - depth).abs().mean() < 6


@pytest.mark.parametrize('exact', [False, True])
def test_names_of_the_released_tool_are_found(dance, exact):
    folder = dance / 'train' / 'a' / 'depth'
    for path in list(folder.iterdir()):
        path.rename(folder / f'{int(path.stem):08d}.png')
    config = _loaders('dancetrack', dance).train_dataloader
    for step in config.dataset.pipeline:
        if step.type == 'LoadClipDepth':
            step.exact = exact
    assert _samples(config)[0][0]['depth'][0] is not None


def _colour(path):
    Image.open(path).convert('RGB').save(path)


def _sixteen_bits(path):
    Image.fromarray(np.zeros((90, 160), dtype=np.uint16)).save(path)


def _small(path):
    Image.new('L', (80, 45)).save(path)


def _cut(path):
    path.write_bytes(path.read_bytes()[:2000])


def _empty(path):
    path.write_bytes(b'')


@pytest.mark.parametrize('exact', [False, True])
@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (_colour, '000003.png: found a colour image'),
        (_sixteen_bits, '000003.png: found 16-bit depth'),
        (_small, '000003.png: found 80x45, expected the size of the image, 160x90'),
        (Path.unlink, '000003.png: no depth map for 000003.jpg'),
        (_cut, '000003.png: cannot'),
        (_empty, '000003.png: not an image'),
    ],
)
def test_bad_depth_maps_are_named(dance, damage, message, exact):
    damage(dance / 'train' / 'a' / 'depth' / '000003.png')
    config = _loaders('dancetrack', dance)
    for step in config.train_dataloader.dataset.pipeline:
        if step.type == 'LoadClipDepth':
            step.exact = exact
    with pytest.raises((ValueError, OSError), match=message):
        _samples(config.train_dataloader)


def test_depth_can_be_required(dance, make_sequence):
    make_sequence(dance / 'train' / 'b', 4, size=(90, 160))
    config = _loaders('dancetrack', dance).train_dataloader
    with_depth = [inputs['depth'][0] is not None for inputs, _ in _samples(config)]
    assert sorted(with_depth) == [False] * 2 + [True] * 3
    for step in config.dataset.pipeline:
        if step.type == 'LoadClipDepth':
            step.missing = 'error'
    with pytest.raises(FileNotFoundError, match="'b' of DanceTrack has no depth"):
        _samples(config)


def test_clips_with_and_without_depth_make_one_batch(dance, make_sequence):
    make_sequence(dance / 'train' / 'b', 5, size=(90, 160))
    config = _loaders('dancetrack', dance).train_dataloader
    config.batch_size = 2
    orders = set()
    for seed in range(4):
        for inputs, _ in _samples(config, seed):
            for image, depth in zip(inputs['img'], inputs['depth'], strict=True):
                assert depth is None or depth.shape[2:] == image.shape[2:]
            orders.add(tuple(depth is not None for depth in inputs['depth']))
    assert {(True, False), (False, True)} <= orders


def test_missing_depth_is_said_once(dance, make_sequence, monkeypatch):
    from mmfdta.datasets import mot_sequence

    said = []
    monkeypatch.setattr(mot_sequence, 'print_log', lambda text, *_: said.append(text))
    make_sequence(dance / 'train' / 'b', 4, size=(90, 160))
    _samples(_loaders('dancetrack', dance).train_dataloader)
    assert len(said) == 1 and '1 of 2 sequences have no depth' in said[0]


def test_classes_travel_through_to_the_targets(tmp_path, make_sequence):
    rows = ''.join(
        f'{t},{i},{5 + 20 * i},9,10,20,1,{1 + i % 2},1\n'
        for t in range(1, 6)
        for i in range(4)
    )
    make_sequence(tmp_path / 'train' / 'a', 5, rows, size=(90, 160))
    config = _loaders('dancetrack', tmp_path).train_dataloader
    config.dataset.category_map = {1: 0, 2: 1}
    config.dataset.metainfo = dict(classes=('cat', 'dog'))
    for step in config.dataset.pipeline:
        if step.type == 'GenerateIDTargets':
            step.update(class_aware=True, switch_prob=0.9, occlusion_prob=0.0)
    switched = 0
    for epoch in range(3):
        for _, sample in _samples(config, epoch=epoch):
            targets = sample.id_targets[0]
            for t, frame in enumerate(sample):
                boxes = frame.gt_instances
                assert torch.equal(boxes.labels, boxes.instances_ids % 2)
                unknown = targets.unknown_ann_idxs[:, t]
                trajectory = targets.trajectory_ann_idxs[:, t]
                both = (unknown >= 0) & (trajectory >= 0)
                assert torch.equal(
                    boxes.labels[unknown[both]], boxes.labels[trajectory[both]]
                )
                switched += int((unknown != trajectory).sum())
    assert switched > 50


def test_single_frames_lie_as_those_of_clips(tmp_path, make_sequence, make_image):
    """Boxes are in pixels of the file, whatever its orientation in EXIF is."""
    folder = make_sequence(tmp_path / 'train' / 'a', 1, size=(48, 64))
    turned = Image.Exif()
    turned[0x0112] = 6  # a viewer shows it standing
    path = folder / 'img1' / '000001.jpg'
    Image.fromarray(make_image(1, 48, 64)).save(path, exif=turned)
    config = Config.fromfile(CONFIGS / 'single_frames.py')
    frames = MOTSequenceDataset(
        str(tmp_path), single_frames=True, pipeline=[config.frame_pipeline[0]]
    )
    clips = MOTSequenceDataset(
        str(tmp_path), pipeline=[dict(type='OpenClip'), dict(type='DecodeClip')]
    )
    assert frames[0]['img'].shape[:2] == (frames[0]['height'], frames[0]['width'])
    np.testing.assert_array_equal(frames[0]['img'][..., ::-1], clips[0]['imgs'][0])
