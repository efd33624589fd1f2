# Copyright (c) mmfdta authors.
"""Every tracker of every config: videos in turn are as one after the other."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from light_configs import FAMILIES, light
from mmdet.registry import MODELS
from mmengine.config import Config
from rectangles import SIZE, draw, rectangle_config
from torch import nn

from mmfdta.apis import MOTInferencer

CONFIGS = Path(__file__).parents[2] / 'configs'
LENGTH, SHORT = 9, 5
# Detectors alone.
NO_TRACKERS = {'FDTADetector', 'QueryDetector', 'ZooDINO', 'TwoStageDeformableDETR'}


@pytest.fixture(scope='module')
def loaded() -> dict[str, Config]:
    """All configs: too many to read while tests are collected."""
    return {p.stem: Config.fromfile(p) for p in sorted(CONFIGS.glob('*.py'))}


# MMDetection's own model classes. Its StrongSORT sees whole videos, and does not track
# frame by frame.
MOTION = dict(type='KalmanFilter')
OF_MMDETECTION = dict(
    bytetrack=dict(type='ByteTrack', tracker=dict(type='ByteTracker', motion=MOTION)),
    ocsort=dict(type='OCSORT', tracker=dict(type='OCSORTTracker', motion=MOTION)),
    sort=dict(
        type='DeepSORT', tracker=dict(type='SORTTracker', motion=MOTION, reid=None)
    ),
    deepsort=dict(
        type='DeepSORT',
        reid=dict(type='MeanColor'),
        tracker=dict(
            type='SORTTracker',
            motion=MOTION,
            obj_score_thr=0.5,
            reid=dict(
                num_samples=4,
                img_scale=(16, 16),
                img_norm_cfg=None,
                match_score_thr=90.0,
            ),
            num_tentatives=1,
        ),
    ),
)


@MODELS.register_module(force=True)
class MeanColor(nn.Module):
    """Stands for a network that compares crops."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)
        self.head.out_channels = 3

    def forward(self, crops, mode):
        return crops.mean((2, 3))


def clips(length: int) -> dict[str, list[np.ndarray]]:
    """A video, one that ends early, and one of another size that begins later."""
    return dict(
        hall=draw(1, length),
        yard=draw(2, length - 2),
        gate=draw(3, length - 2, (SIZE[0], 120)),
    )


def rounds(length: int) -> list[dict[str, np.ndarray]]:
    """The frames that come at a time, as cameras give them."""
    videos = clips(length)
    found = []
    for t in range(length):
        frames = dict(hall=videos['hall'][t])
        if t < len(videos['yard']):
            frames['yard'] = videos['yard'][t]
        if t >= 2:
            frames['gate'] = videos['gate'][t - 2]
        # The order of a dict is that of the cameras that were ready first.
        found.append(dict(sorted(frames.items(), reverse=bool(t % 2))))
    return found


def compare(found: dict, expected: dict, tolerance: float) -> None:
    for name, tracks in expected.items():
        for ours, theirs in zip(found[name], tracks, strict=True):
            assert ours.identity.tolist() == theirs.identity.tolist(), name
            assert ours.frame.tolist() == theirs.frame.tolist()
            np.testing.assert_allclose(ours.xywh, theirs.xywh, atol=tolerance)
            np.testing.assert_allclose(ours.score, theirs.score, atol=tolerance)


def check(
    inferencer: MOTInferencer, tolerance: float = 1e-3, length: int = LENGTH
) -> None:
    """Track the videos one after the other, in turn, together and mixed up."""
    expected = {}
    for name, frames in clips(length).items():
        expected[name] = [inferencer.step(frame) for frame in frames]
        inferencer.reset()
    assert all(sum(map(len, tracks)) > 3 for tracks in expected.values())

    # One of the videos is the inferencer's own.
    sessions = dict(hall=inferencer.session(), yard=inferencer)
    found: dict = {name: [] for name in expected}
    for t, frames in enumerate(rounds(length)):
        if t == 2:  # in the middle of the others
            sessions['gate'] = inferencer.session()
        for name, frame in frames.items():
            found[name].append(sessions[name].step(frame))
    compare(found, expected, 0)

    inferencer.reset()
    sessions = {name: inferencer.session() for name in expected}
    found = {name: [] for name in expected}
    for frames in rounds(length):
        given = {sessions[name]: frame for name, frame in frames.items()}
        together = inferencer.step(given)
        assert list(together) == list(given)
        for name in frames:
            found[name].append(together[sessions[name]])
    compare(found, expected, tolerance)

    # Without sessions the videos are mixed up: the test would see it.
    found = {name: [] for name in expected}
    for frames in rounds(length):
        for name, frame in frames.items():
            found[name].append(inferencer.step(frame).identity.tolist())
    alone = {n: [t.identity.tolist() for t in tracks] for n, tracks in expected.items()}
    assert found != alone


def opened(config: Config, **options) -> MOTInferencer:
    torch.manual_seed(0)
    return MOTInferencer(config, device='cpu', allow_random_weights=True, **options)


def small_frames(config: Config) -> Config:
    """The config with frames of 32 rows for its model."""
    for name in ('val_dataloader', 'test_dataloader'):
        config.pop(name, None)
    config.test_pipeline = rectangle_config({}, 32).test_pipeline
    return config


def test_every_config_is_here(loaded):
    """Each model type has a family, and each setting of a tracker of boxes is run."""
    kinds = {config.model.type for config in loaded.values()}
    run = {Config.fromfile(CONFIGS / f'{n}.py').model.type for n in FAMILIES.values()}
    assert kinds - NO_TRACKERS - run == {'TrackingByDetection', 'BoxFDTA', 'QDTrack'}


def test_trackers_of_boxes(loaded):
    """A config for each setting."""
    done = set()
    for name, config in loaded.items():
        if config.model.type == 'TrackingByDetection':
            tracker = config.model.tracker.to_dict()
            settings = json.dumps(tracker, sort_keys=True)
            if settings not in done:
                print(name)  # the last is that of a failure
                model = dict(type='TrackingByDetection', tracker=tracker)
                check(opened(rectangle_config(model)))
            done.add(settings)
    assert len(done) > 5


@pytest.mark.parametrize('name', OF_MMDETECTION)
def test_models_of_mmdetection(name: str):
    config = rectangle_config(OF_MMDETECTION[name])
    config.model.data_preprocessor = dict(type='TrackDataPreprocessor', bgr_to_rgb=True)
    config.test_pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(SIZE[0], 1440), keep_ratio=True),
        dict(type='PackTrackInputs'),
    ]
    check(opened(config), tolerance=0)


@pytest.mark.parametrize('name', ['boxes_mini', 'boxes_dancetrack', 'boxes-looks'])
def test_association_on_boxes(name: str):
    looks = name == 'boxes-looks'
    path = CONFIGS / f'{"boxes-looks_fdta-det_mini" if looks else name}.py'
    model = Config.fromfile(path).model.to_dict()
    for part in ('detector', 'data_preprocessor', 'embeddings'):
        model.pop(part, None)
    dims = model['box_encoder'].get('looks_dims') or 8
    model['detector'] = dict(type='RectangleDetector', embed_dims=dims)
    check(opened(rectangle_config(model)))


TRACKING = {n: c for n, c in FAMILIES.items() if not n.startswith('deformable')}


@pytest.mark.parametrize('name', TRACKING.values())
def test_trackers_with_networks(name: str):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    light(config.model)
    inferencer = opened(small_frames(config))
    if name.startswith('motr'):  # of random networks, half of the queries find objects
        tracker = inferencer.model.tracker
        tracker.det_thr = tracker.area_thr = 0.0
        scores = inferencer.step(clips(SHORT)['hall'][0]).score
        tracker.newborn_thr = tracker.keep_thr = float(np.median(scores))
        inferencer.reset()
    check(inferencer, tolerance=2e-2, length=SHORT)


def test_qdtrack():
    config = Config.fromfile(CONFIGS / 'qdtrack_faster-rcnn_mot17.py')
    detector = config.model.detector
    detector.backbone.update(depth=18, style='pytorch')
    detector.neck.in_channels = [64, 128, 256, 512]
    detector.roi_head.bbox_head.fc_out_channels = 32
    detector.test_cfg.rpn.update(nms_pre=20, max_per_img=20)
    detector.test_cfg.rcnn.update(score_thr=0.0, max_per_img=8)
    config.model.track_head.embed_head.num_convs = 1
    config.model.tracker.update(init_score_thr=0.0, obj_score_thr=0.0)
    check(opened(small_frames(config)), tolerance=0, length=SHORT)
