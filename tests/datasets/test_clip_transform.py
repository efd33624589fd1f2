# Copyright (c) mmfdta authors.
"""Image transforms of MMCV and MMDetection on clips: one draw for all frames."""

import random

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.registry import init_default_scope

from mmfdta.datasets.transforms import (
    ClipTransform,
    GenerateIDTargets,
    LoadClipDepth,
    PackClipInputs,
)
from mmfdta.datasets.transforms.geometry import ClipGeometry

SHAPE = (90, 160)
COLOURS = (
    dict(type='PhotoMetricDistortion'),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='mmcv.RandomGrayscale', prob=0.5),
    dict(type='AutoContrast', prob=1.0),
    dict(type='Equalize', prob=1.0),
    dict(type='Brightness', prob=1.0),
    dict(type='Sharpness', prob=1.0),
    dict(type='Posterize', prob=1.0),
    dict(type='CutOut', n_holes=(1, 3), cutout_shape=(8, 8)),
)
GEOMETRY = (
    dict(type='RandomFlip', prob=1.0),
    dict(type='RandomFlip', prob=0.9, direction=['vertical', 'diagonal']),
    dict(type='Resize', scale=(120, 70), keep_ratio=True),
    dict(type='FixShapeResize', width=120, height=64, keep_ratio=False),
    dict(type='mmcv.RandomResize', scale=[(100, 60), (200, 120)], resize_type='Resize'),
    dict(type='mmcv.RandomChoiceResize', scales=[(100, 60), (130, 80)]),
    dict(type='ResizeShortestEdge', scale=60, max_size=120),
    dict(type='RandomCrop', crop_size=(70, 120)),
    dict(type='RandomAffine', max_translate_ratio=0.05),
    dict(type='Rotate', prob=1.0, level=4),
    dict(type='ShearX', prob=1.0, level=2),
    dict(type='TranslateY', prob=1.0, level=1),
    dict(type='Pad', size_divisor=32),
    dict(type='Expand', prob=1.0),
)
MIXED = (
    dict(type='mmcv.RandomApply', transforms=[dict(type='RandomFlip', prob=1.0)]),
    dict(
        type='mmcv.RandomChoice',
        transforms=[[dict(type='RandomFlip', prob=1.0)], [dict(type='Equalize')]],
    ),
    dict(type='RandomErasing', n_patches=(1, 2), ratio=0.1),
    dict(type='AutoAugment'),
    dict(type='RandAugment'),
)


def name_of(config):
    return config['type'] + str(config.get('direction', ''))[:3]


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


@pytest.fixture
def clip(make_image):
    """Make a clip of three frames whose objects move; new for each call."""
    images = np.stack([make_image(t, *SHAPE) for t in range(3)])
    depths = np.stack([make_image(9 + t, *SHAPE)[..., :1] for t in range(3)])

    def make(seed=0, depth=False, **changes):
        boxes = [
            [20 + 40 * i + 2 * t, 30 + t, 45 + 40 * i + 2 * t, 70 + t]
            for t in range(3)
            for i in range(3)
        ]
        results = dict(
            imgs=images.copy(),
            img_paths=[f'{t:06d}.jpg' for t in range(3)],
            img_ids=np.arange(3),
            frame_ids=np.arange(3),
            ori_shape=SHAPE,
            img_shape=SHAPE,
            geometry=ClipGeometry(SHAPE),
            gt_bboxes=np.array(boxes, dtype=np.float32),
            gt_labels=np.zeros(9, dtype=np.int64),
            gt_ids=np.tile([7, 3, 5], 3),
            gt_frames=np.repeat(np.arange(3), 3),
            depth_dir=None,
            sequence='s',
            dataset='d',
            video_id=0,
            video_length=3,
            rng=np.random.default_rng(seed),
        )
        if depth:
            results['depths'] = depths.copy()
        return {**results, **changes}

    return make


def frame_by_frame(config, results, seed, images):
    """Apply a transform to each frame as MMDetection would, from one seed."""
    frames = []
    transform = TRANSFORMS.build(config)
    for t, image in enumerate(images):
        own = results['gt_frames'] == t
        frame = dict(
            img=cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
            img_shape=SHAPE,
            gt_bboxes=HorizontalBoxes(torch.from_numpy(results['gt_bboxes'][own])),
            gt_bboxes_labels=results['gt_ids'][own],
            gt_ignore_flags=np.zeros(own.sum(), dtype=bool),
        )
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        frames.append(transform(frame))
    return frames


@pytest.mark.parametrize('seed', [1, 2, 3])
@pytest.mark.parametrize('config', COLOURS + GEOMETRY + MIXED, ids=name_of)
def test_each_frame_is_as_if_transformed_alone(clip, config, seed):
    results = ClipTransform(dict(config))(clip(seed))
    drawn = int(np.random.default_rng(seed).integers(2**32))
    expected = frame_by_frame(config, clip(seed), drawn, clip()['imgs'])
    for t, frame in enumerate(expected):
        image = cv2.cvtColor(frame['img'].clip(0, 255), cv2.COLOR_BGR2RGB)
        np.testing.assert_array_equal(results['imgs'][t], np.rint(image))
        boxes = frame['gt_bboxes'].tensor.numpy()
        left = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        own = results['gt_frames'] == t
        np.testing.assert_array_equal(results['gt_bboxes'][own], boxes[left])
        ids = np.asarray(frame['gt_bboxes_labels'])[left]
        np.testing.assert_array_equal(results['gt_ids'][own], ids)
    assert results['img_shape'] == results['imgs'].shape[1:3]
    assert results['imgs'].dtype == np.uint8


@pytest.mark.parametrize('config', GEOMETRY, ids=name_of)
def test_depth_follows_the_geometry(clip, config):
    results = ClipTransform(dict(config))(clip(4, depth=True))
    drawn = int(np.random.default_rng(4).integers(2**32))
    grey = clip(depth=True)['depths'].repeat(3, axis=3)
    expected = frame_by_frame(config, clip(), drawn, grey)
    for depth, frame in zip(results['depths'], expected, strict=True):
        np.testing.assert_array_equal(depth[..., 0], frame['img'][..., 0])
    assert results['depths'].shape[:3] == results['imgs'].shape[:3]


@pytest.mark.parametrize('config', COLOURS, ids=name_of)
def test_depth_ignores_the_colours(clip, config):
    results = ClipTransform(dict(config))(clip(4, depth=True))
    np.testing.assert_array_equal(results['depths'], clip(depth=True)['depths'])


def test_a_flip_is_a_flip(clip):
    results = ClipTransform(dict(type='RandomFlip', prob=1.0))(clip(depth=True))
    before = clip(depth=True)
    np.testing.assert_array_equal(results['imgs'], before['imgs'][:, :, ::-1])
    np.testing.assert_array_equal(results['depths'], before['depths'][:, :, ::-1])
    left, right = before['gt_bboxes'][:, 0], before['gt_bboxes'][:, 2]
    np.testing.assert_array_equal(results['gt_bboxes'][:, 0], SHAPE[1] - right)
    np.testing.assert_array_equal(results['gt_bboxes'][:, 2], SHAPE[1] - left)


def test_the_generators_of_the_process_do_not_notice(clip):
    def numbers():
        return random.random(), np.random.rand(), torch.rand(1).item()

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    expected = numbers()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    ClipTransform(dict(type='PhotoMetricDistortion'))(clip())
    assert numbers() == expected


def test_clips_differ_and_seeds_repeat(clip):
    step = ClipTransform(dict(type='PhotoMetricDistortion'))
    one, again, other = (step(clip(seed))['imgs'] for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_a_clip_stays_whole_where_a_frame_would_lose_its_objects(clip):
    boxes = clip()['gt_bboxes']
    boxes[6:] = [150, 80, 158, 88]  # of the last frame
    step = ClipTransform(dict(type='mmcv.CenterCrop', crop_size=(40, 60)))
    cropped = step(clip())
    assert cropped['img_shape'] == (60, 40) and len(cropped['gt_ids']) < 9
    whole = step(clip(gt_bboxes=boxes.copy()))
    assert whole['img_shape'] == SHAPE
    np.testing.assert_array_equal(whole['gt_bboxes'], boxes)
    # MMDetection's crop gives an image without objects up.
    step = ClipTransform(dict(type='RandomCrop', crop_size=(40, 40)))
    assert step(clip(gt_bboxes=boxes.copy()))['img_shape'] == SHAPE


def test_a_clip_without_boxes(clip):
    results = clip()
    for key in ('gt_bboxes', 'gt_labels', 'gt_ids', 'gt_frames'):
        del results[key]
    results = ClipTransform(dict(type='RandomFlip', prob=1.0))(results)
    np.testing.assert_array_equal(results['imgs'], clip()['imgs'][:, :, ::-1])
    assert 'gt_bboxes' not in results


def test_it_is_packed(clip):
    results = ClipTransform(dict(type='Pad', size_divisor=32))(clip())
    packed = PackClipInputs()(results)
    assert packed['inputs']['img'].shape == (3, 3, 96, 160)
    assert packed['data_samples'][0].img_shape == (96, 160)


class Jitter:
    """Moves each frame by its number."""

    def __call__(self, results):
        results['homography_matrix'] = np.eye(3) + int(results['img_id'])
        return results


def test_what_makes_no_sense_is_refused(clip):
    with pytest.raises(ValueError, match='data preprocessor'):
        ClipTransform(dict(type='Normalize', mean=[0] * 3, std=[1] * 3))
    with pytest.raises(ValueError, match='Mosaic.*other images'):
        ClipTransform(dict(type='Mosaic'))
    with pytest.raises(ValueError, match="Jitter.*sequence 's' differently"):
        ClipTransform(Jitter())(clip())
    flip = ClipTransform(dict(type='RandomFlip', prob=1.0))
    results = clip()
    del results['imgs']
    with pytest.raises(ValueError, match='after DecodeClip'):
        flip(results)
    with pytest.raises(ValueError, match='before GenerateIDTargets'):
        flip(GenerateIDTargets(num_groups=1, vocab=5)(clip()))
    with pytest.raises(ValueError, match='RandomFlip has moved.*before ClipTransform'):
        LoadClipDepth()(flip(clip()))
    with pytest.raises(ValueError, match='of a test'):
        flip(clip(test_mode=True))
    with pytest.raises(ValueError, match='AutoAugment.*single transforms'):
        ClipTransform(dict(type='AutoAugment'))(clip(depth=True))
    LoadClipDepth()(ClipTransform(dict(type='Equalize'))(clip(test_mode=True)))
