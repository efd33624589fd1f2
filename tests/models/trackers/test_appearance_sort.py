# Copyright (c) mmfdta authors.
"""DeepSORT and StrongSORT on embeddings, against MMDetection's on crops."""

import copy
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmdet.models.task_modules.tracking import CameraMotionCompensation
from mmdet.models.trackers import SORTTracker, StrongSORTTracker
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData

import mmfdta.registry  # noqa: F401
from mmfdta.models import ClipDataPreprocessor, CropEmbeddings, ReIDNetwork

TRACKERS = Path(__file__).parents[3] / 'configs/_base_/trackers'
OF_MMDETECTION = dict(deepsort=SORTTracker, strongsort=StrongSORTTracker)
SHAPE = (96, 160)
CROP = (32, 16)


@pytest.fixture(scope='module')
def network() -> ReIDNetwork:
    torch.manual_seed(0)
    network = ReIDNetwork(depth=18, base_channels=8, fc_channels=16, out_channels=12)
    return network.eval()


def settings_of(name: str, **changes) -> dict:
    return {**Config.fromfile(TRACKERS / f'{name}.py').tracker, **changes}


def video(seed: int, length: int = 14, pan: int = 0) -> list:
    """People in plain colours that cross, on a textured ground; some are missed."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 255, (12, 20 + length, 3)).astype(np.uint8)
    ground = cv2.resize(ground, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    start = rng.uniform([20, 10], [130, 50], (6, 2))
    speed = rng.normal(0, 3, (6, 2))
    colors = rng.integers(0, 255, (6, 2, 3))
    frames = []
    for t in range(length):
        image = ground[:96, pan * t : pan * t + 160].copy()
        corner = start + speed * t - [pan * t, 0]
        boxes = np.concatenate([corner, corner + [16, 36]], axis=1)
        for (x1, y1, x2, y2), (top, bottom) in zip(
            boxes.round().astype(int), colors, strict=True
        ):
            x1, y1, x2, y2 = np.clip([x1, y1, x2, y2], 0, 200)
            image[y1 : (y1 + y2) // 2, x1:x2] = top
            image[(y1 + y2) // 2 : y2, x1:x2] = bottom
        seen = rng.uniform(size=6) < 0.9
        if t == 5:
            seen[:] = False
        frames.append((image, boxes[seen], rng.uniform(0.55, 1, seen.sum())))
    return frames


def sample(number: int, boxes, scores) -> DetDataSample:
    meta = dict(frame_id=number, img_shape=SHAPE, ori_shape=SHAPE, scale_factor=(1, 1))
    data = DetDataSample(metainfo=meta)
    data.pred_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(scores, dtype=torch.float32),
        labels=torch.zeros(len(boxes), dtype=torch.int64),
    )
    return data


def rows(found: InstanceData) -> list:
    return [found.instances_id.tolist(), found.bboxes.tolist(), found.scores.tolist()]


@torch.no_grad()
@pytest.mark.parametrize(
    ('name', 'cmc'), [('deepsort', False), ('strongsort', False), ('strongsort', True)]
)
def test_tracks_are_those_of_mmdetections_tracker(name: str, cmc: bool, network):
    compensation = dict(type='CameraMotionCompensation', num_iters=50, stop_eps=1e-4)
    settings = settings_of(name)
    if name == 'strongsort':
        settings['cmc'] = compensation if cmc else None
    mine = MODELS.build(settings)
    # Its reid has the size of crops, and nothing of the config is of this project.
    theirs = {k: v for k, v in settings.items() if k not in ('type', 'cmc')}
    theirs['reid'] = dict(settings['reid'], img_scale=CROP, img_norm_cfg=None)
    theirs = OF_MMDETECTION[name](**copy.deepcopy(theirs))
    embeddings = CropEmbeddings(dict(type='ReIDNetwork'), CROP)
    embeddings.network = network
    preprocessor = ClipDataPreprocessor()

    def look(crops, mode):
        assert mode == 'tensor'
        # What their camera sees is in pixels; the network wants them normalised.
        return network((crops.flip(1) / 255 - preprocessor.mean) / preprocessor.std)

    facts = dict(with_cmc=cmc)
    if cmc:
        facts['cmc'] = CameraMotionCompensation(num_iters=50, stop_eps=1e-4)
    model = SimpleNamespace(reid=_Callable(look), **facts)
    identities = []
    for seed in (0, 1, 2):
        for t, (image, boxes, scores) in enumerate(video(seed, pan=4 * cmc)):
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
            expected = theirs.track(model, pixels, sample(t, boxes, scores))
            frame = sample(t, boxes, scores)
            imgs = (pixels.flip(1) / 255 - preprocessor.mean) / preprocessor.std
            (given,) = embeddings(None, imgs, [frame], preprocessor)
            frame.pred_instances.embeddings = given
            found = mine.track(frame, frame=lambda image=image: image, model=None)
            assert rows(found) == rows(expected)
            identities += [(seed, i) for i in found.instances_id.tolist()]
    # Tracks go on.
    assert len(identities) > 1.5 * len(set(identities)) > 6


class _Callable:
    """MMDetection asks its network for the channels where a frame has no box."""

    head = SimpleNamespace(out_channels=12)

    def __init__(self, look) -> None:
        self.look = look

    def __call__(self, crops, mode):
        return self.look(crops, mode)


@torch.no_grad()
def test_crops_of_many_frames_are_those_of_each_alone(network):
    embeddings = CropEmbeddings(dict(type='ReIDNetwork'), CROP)
    embeddings.network = network
    preprocessor = ClipDataPreprocessor()
    imgs = torch.randn(3, 3, *SHAPE)
    boxes = [[[4, 3, 30, 60], [-20, -9, 5, 300]], [], [[150.6, 90.2, 150.7, 90.3]]]
    frames = [sample(0, part, [0.9] * len(part)) for part in boxes]
    found = embeddings(None, imgs, frames, preprocessor)
    assert [tuple(part.shape) for part in found] == [(2, 12), (0, 12), (1, 12)]
    for i in (0, 2):
        (alone,) = embeddings(None, imgs[i : i + 1], [frames[i]], preprocessor)
        torch.testing.assert_close(found[i], alone, rtol=1e-4, atol=1e-5)
    nothing = embeddings(None, imgs[:1], [frames[1]], preprocessor)
    assert nothing[0].shape == (0, 12)


@torch.no_grad()
def test_the_network_sees_the_same_pixels_behind_any_detector(network):
    """One takes blue first and 0..255, the other normalised red first."""
    embeddings = CropEmbeddings(dict(type='ReIDNetwork'), CROP)
    embeddings.network = network
    frames = [sample(0, [[4, 3, 30, 60], [50, 20, 90, 80]], [0.9, 0.9])]
    clip = torch.randint(0, 256, (1, 3, *SHAPE), dtype=torch.uint8)
    found = []
    for settings in ({}, dict(mean=[0, 0, 0], std=[1, 1, 1], bgr=True)):
        preprocessor = ClipDataPreprocessor(**settings)
        imgs = preprocessor(dict(inputs=dict(img=[clip])))['inputs']['img'][0]
        found += embeddings(None, imgs, frames, preprocessor)
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


def test_names_of_weights_are_those_of_the_zoo():
    """Of a ResNet-50 as `BaseReID` has it, without what classifies identities."""
    shapes = {n: tuple(v.shape) for n, v in ReIDNetwork().state_dict().items()}
    head = {n: s for n, s in shapes.items() if n.startswith('head.')}
    assert head == {
        'head.fcs.0.fc.weight': (1024, 2048),
        'head.fcs.0.fc.bias': (1024,),
        **{
            f'head.fcs.0.bn.{n}': (1024,)
            for n in ('weight', 'bias', 'running_mean', 'running_var')
        },
        'head.fcs.0.bn.num_batches_tracked': (),
        'head.fc_out.weight': (128, 1024),
        'head.fc_out.bias': (128,),
    }
    assert shapes['backbone.layer4.2.conv3.weight'] == (2048, 512, 1, 1)
    assert sum(not name.startswith(('backbone.', 'head.')) for name in shapes) == 0


def test_a_frame_that_cannot_be_aligned_leaves_the_tracks(network):
    tracker = MODELS.build(
        settings_of('strongsort', cmc=dict(type='CameraMotionCompensation'))
    )
    assert tracker.needs_frames
    grey = np.full((*SHAPE, 3), 90, np.uint8)
    for t in range(3):
        frame = sample(t, [[10, 10, 30, 60]], [0.9])
        frame.pred_instances.embeddings = torch.ones(1, 4)
        found = tracker.track(frame, frame=lambda: grey)
        assert found.instances_id.tolist() == [0]


def test_another_class_never_continues_a_track():
    for name in OF_MMDETECTION:
        settings = settings_of(name)
        settings.pop('cmc', None)
        tracker = MODELS.build(settings)
        ids = []
        for t, label in enumerate([0, 0, 0, 1, 1]):
            frame = sample(t, [[10, 10, 30, 60]], [0.9])
            frame.pred_instances.labels[:] = label
            frame.pred_instances.embeddings = torch.ones(1, 4)
            ids += tracker.track(frame).instances_id.tolist()
        assert ids == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(reid=None), 'model.tracker.reid: found None'),
        (dict(reid=dict(img_scale=(256, 128))), 'model.tracker.reid: found img_scale'),
    ],
)
@pytest.mark.parametrize('name', OF_MMDETECTION)
def test_settings_of_crops_are_refused(name: str, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        MODELS.build(settings_of(name, **changes))


def test_what_is_missing_is_said():
    tracker = MODELS.build(settings_of('deepsort'))
    with pytest.raises(ValueError, match=r'model\.embeddings: DeepSORTTracker'):
        tracker.track(sample(0, [[10, 10, 30, 60]], [0.9]))
    tracker = MODELS.build(
        settings_of('strongsort', cmc=dict(type='CameraMotionCompensation'))
    )
    frame = sample(0, [[10, 10, 30, 60]], [0.9])
    frame.pred_instances.embeddings = torch.ones(1, 4)
    with pytest.raises(ValueError, match=r'model\.tracker\.cmc: .* frames'):
        tracker.track(frame)


@pytest.mark.parametrize('name', OF_MMDETECTION)
def test_an_embedding_that_is_not_finite_is_named(name: str):
    changes = dict(cmc=None) if name == 'strongsort' else {}
    frame = sample(0, [[10, 10, 30, 60]], [0.9])
    frame.pred_instances.embeddings = torch.full((1, 4), torch.inf)
    with pytest.raises(ValueError, match='embeddings: found NaN or infinity for 1 of'):
        MODELS.build(settings_of(name, **changes)).track(frame)


@pytest.mark.parametrize('num_samples', [3, None])
def test_memory_does_not_grow_with_the_video(num_samples):
    """As many embeddings as are compared, and the tracks of one that keeps all."""
    reid = dict(num_samples=num_samples, match_score_thr=1.2)
    config = settings_of('deepsort', reid=reid)
    ours = MODELS.build(dict(config))
    keeps = SORTTracker(**{k: v for k, v in config.items() if k != 'type'})
    rng = np.random.default_rng(0)
    embedded = {}
    keeps.crop_imgs = lambda *_: embedded['now']
    head = SimpleNamespace(out_channels=4)
    network = type('Given', (), dict(head=head, __call__=lambda s, x, mode: x))()
    places = rng.uniform(0, 60, (4, 2))
    for number in range(30):
        places = places + rng.normal(0, 3, (4, 2))
        seen = rng.random(4) < 0.9
        boxes = np.concatenate([places, places + [20, 40]], axis=1)[seen]
        frame = sample(number, boxes, np.full(seen.sum(), 0.9))
        looks = np.eye(4)[seen] + rng.normal(0, 0.3, (seen.sum(), 4))
        embedded['now'] = torch.from_numpy(looks).float()
        other = copy.deepcopy(frame)
        frame.pred_instances.embeddings = embedded['now']
        expected = keeps.track(SimpleNamespace(reid=network), torch.zeros(1), other)
        found = ours.track(frame)
        assert found.instances_id.tolist() == expected.instances_id.tolist()
    counts = [len(track['embeds']) for track in ours.tracks.values()]
    assert max(counts) == (num_samples or 1)
    assert max(len(track['embeds']) for track in keeps.tracks.values()) > 10
