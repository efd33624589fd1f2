# Copyright (c) mmfdta authors.
"""Every tracker on other detectors: what it sees, several classes, what is stored."""

import copy

import pytest
import torch
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from small_fdta import build, collate, make_clip, small_config
from small_hosts import host_config
from torch import nn

from mmfdta.apis.detection_store import detection_fingerprint
from mmfdta.engine import PRECISIONS, keep_precision
from mmfdta.engine.precision import hold_half_weights
from mmfdta.models.detectors import DetrInterface


def fdta(name: str, classes: int = 1, **options) -> nn.Module:
    """The small FDTA on a host."""
    config = small_config()
    host = host_config(name, classes)
    config.detector = dict(type='QueryDetector', host=host, **options)
    return build(config)


@TASK_UTILS.register_module()
class ScaledInterface(DetrInterface):
    """Embeddings times a number."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def embeddings(self, host: nn.Module, decoded: dict) -> torch.Tensor:
        return super().embeddings(host, decoded) * self.scale


def baseline(detector: dict, preprocessor: dict) -> nn.Module:
    """ByteTrack on a detector, with random weights."""
    tracker = dict(
        type='ByteTracker',
        motion=dict(type='KalmanFilter'),
        obj_score_thrs=dict(high=0.0, low=0.0),
        init_track_thr=0.0,
    )
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='TrackingByDetection',
            detector=detector,
            tracker=tracker,
            data_preprocessor=preprocessor,
        )
    )
    model.init_weights()
    return model.eval()


@torch.no_grad()
def test_a_baseline_sees_what_fdta_sees():
    model = fdta('dino').eval()
    config = small_config()
    host = dict(type='QueryDetector', host=host_config('dino', classes=1))
    plain = baseline(host, config.data_preprocessor)
    plain.detector.load_state_dict(model.detector.state_dict())
    data = model.data_preprocessor(collate(make_clip(2, with_depth=False)))
    (seen,) = model(**copy.deepcopy(data), mode='predict')
    (tracked,) = plain(**data, mode='predict')
    for frame, other in zip(seen, tracked, strict=True):
        expected = frame.pred_instances
        order = expected.scores.argsort(descending=True, stable=True)
        found = other.pred_instances
        assert found.bboxes.equal(expected.bboxes[order])
        assert found.scores.equal(expected.scores[order])
        assert found.embeddings.equal(expected.embeddings[order])
        assert len(other.pred_track_instances) > 0


@torch.no_grad()
@pytest.mark.parametrize('name', ['dino', 'detr'])
def test_a_plain_host_is_a_baselines_detector(name: str):
    """In bfloat16 its head computes in float32, and its weights may be held in half."""
    init_default_scope('mmdet')
    config = small_config()
    model = baseline(host_config(name, classes=1), config.data_preprocessor)
    for parameter in model.detector.bbox_head.parameters():
        parameter.normal_(std=0.3)
    data = model.data_preprocessor(collate(make_clip(2, with_depth=False)))
    for frame in data['data_samples'][0]:
        frame.set_metainfo(dict(scale_factor=(1.0, 1.0)))
    half = copy.deepcopy(model)
    keep_precision(half, PRECISIONS['bf16'])
    heads = {k: v.dtype for k, v in half.detector.bbox_head.state_dict().items()}
    held = copy.deepcopy(half)
    hold_half_weights(held, PRECISIONS['bf16'])
    assert {
        k: v.dtype for k, v in held.detector.bbox_head.state_dict().items()
    } == heads
    found = []
    for tracker in (model, half, held):
        (clip,) = tracker(**copy.deepcopy(data), mode='predict')
        found.append(torch.stack([f.pred_instances.bboxes for f in clip]))
    assert found[1].equal(found[2])
    assert not found[1].equal(found[0])
    inside = found[1][(found[1] > 0) & (found[1] < 64)]
    # Boxes of 96 pixels in bfloat16 would be multiples of 96 / 256 or so.
    assert len((inside * 8 % 1).round(decimals=3).unique()) > 8


def test_several_classes_train_and_track():
    model = fdta('dino', classes=3)
    clip = make_clip(with_depth=False)
    for frame in clip['data_samples']:
        gt = frame.gt_instances
        gt.labels = torch.arange(len(gt)) % 3
    data = model.data_preprocessor(collate(clip), training=True)
    losses = model(**copy.deepcopy(data), mode='loss')
    assert all(value.isfinite() for value in losses.values())
    model.eval().tracker.det_thr = 0.0
    with torch.no_grad():
        (tracked,) = model(**data, mode='predict')
    for frame in tracked:
        assert {*frame.pred_instances.labels.tolist()} <= {0, 1, 2}
        assert frame.pred_instances.labels.dtype == torch.int64


@pytest.mark.parametrize(
    'counts', [(0, 0, 0, 0), (0, 2, 0, 0), (14, 14, 14, 14)], ids=str
)
@pytest.mark.parametrize('name', ['dino', 'ddq', 'deformable'])
def test_extreme_clips_train(name: str, counts: tuple[int, ...]):
    """No object, one frame with some, more objects than queries; in chunks."""
    config = small_config()
    config.detector = dict(type='QueryDetector', host=host_config(name, classes=1))
    config.clip_detection.update(num_grad_frames=3, grad_chunk=1, no_grad_chunk=1)
    model = build(config)
    clip = make_clip(num_objects=max(counts), with_depth=False)
    for frame, count in zip(clip['data_samples'], counts, strict=True):
        gt = frame.gt_instances[:count]
        frame.gt_instances = InstanceData(**{k: v.clone() for k, v in gt.items()})
    (targets,) = clip['data_samples'].id_targets
    for side in ('trajectory', 'unknown'):
        rows = targets.get(f'{side}_ann_idxs')
        few = torch.tensor(counts).view(1, -1, 1) <= rows
        targets.get(f'{side}_id_masks')[few] = True
        rows[few] = -1
    data = model.data_preprocessor(collate(clip), training=True)
    losses = model(**data, mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    for key, parameter in model.named_parameters():
        if parameter.requires_grad and key.startswith('detector'):
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key


def test_stored_detections_know_host_and_weights():
    class Data:
        pipeline = Config(dict(transforms=[]))

    def name_of(change=None, **options) -> str:
        model = fdta('dino', **options)
        if change:
            change(model.detector)
        return detection_fingerprint(model.eval(), Data())

    def change_weight(detector) -> None:
        detector.host.level_embed.data[0, 0] += 1

    plain = name_of()
    assert name_of() == plain
    assert name_of(change_weight) != plain
    assert name_of(lambda d: setattr(d.host, 'num_queries', 9)) != plain
    scaled = {name_of(interface=dict(type='ScaledInterface', scale=n)) for n in (1, 2)}
    assert len(scaled | {plain}) == 3
    assert name_of(lambda d: d.train().eval()) == plain
