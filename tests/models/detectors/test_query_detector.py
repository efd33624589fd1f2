# Copyright (c) mmfdta authors.
"""Every host says through QueryDetector what MMDetection's own class says."""

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from small_fdta import build as build_model
from small_fdta import collate, make_clip, small_config
from small_hosts import HOSTS, QUERIES, host_config, make_frames

SHAPES = [(64, 96), (48, 80), (64, 64)]


def build(name: str, **options):
    torch.manual_seed(0)
    config = dict(type='QueryDetector', host=host_config(name, **options))
    detector = MODELS.build(config)
    detector.init_weights()
    # Initial class and box branches say the same of every query.
    for module in detector.host.bbox_head.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.5 / module.in_features**0.5)
    return detector


@pytest.fixture(scope='module', params=HOSTS)
def detector(request):
    return build(request.param)


def test_detections_are_the_hosts(detector):
    detector.eval()
    imgs, frames = make_frames([0, 0, 0], shapes=SHAPES)
    with torch.no_grad():
        outputs = detector.detect(imgs, frames)
        found = outputs.on_host(frames)
        expected = detector.host.predict(imgs, copy.deepcopy(frames))
    for ours, theirs, frame in zip(found, expected, frames, strict=True):
        theirs = theirs.pred_instances
        height, width = frame.ori_shape
        boxes = ours.bboxes.clone()
        boxes[:, 0::2].clamp_(0, width)
        boxes[:, 1::2].clamp_(0, height)
        # A query may come twice there, with two classes; here its best class counts.
        for box, score, label in zip(
            theirs.bboxes, theirs.scores, theirs.labels, strict=True
        ):
            near = (boxes - box).abs().amax(1) < 1e-3
            assert near.any()
            query = near.nonzero()[0, 0]
            assert ours.scores[query] >= score - 1e-6
            if ours.labels[query] == label:
                assert abs(ours.scores[query] - score) < 1e-6
        best = theirs.scores.max()
        assert abs(ours.scores.max() - best) < 1e-6
        assert (
            ours.labels[ours.scores.argmax()] == theirs.labels[theirs.scores.argmax()]
        )


@pytest.mark.parametrize('counts', [[3, 0, 5], [0, 0, 0]])
def test_losses_are_the_hosts(detector, counts: list[int]):
    """With gradients in every parameter, as processes that train together want it."""
    detector.train()
    imgs, frames = make_frames(counts, shapes=SHAPES)
    detector.zero_grad()
    torch.manual_seed(1)
    outputs = detector.detect(imgs, frames)
    ((found, boxes),) = outputs.loss_parts
    assert boxes == sum(counts)
    assert outputs.cls_scores.shape[2] == outputs.embeddings.shape[1] == QUERIES
    torch.manual_seed(1)
    expected = detector.host.loss(imgs, copy.deepcopy(frames))
    expected = {
        k: sum(v) if isinstance(v, list) else v.sum() for k, v in expected.items()
    }
    torch.testing.assert_close(found, expected)
    (sum(found.values()) + outputs.embeddings.sum()).backward()
    for name, parameter in detector.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def tracker_config(name: str, **clip_detection) -> Config:
    """The small FDTA without a Spatial Adapter, on a host."""
    config = small_config()
    config.detector = dict(type='QueryDetector', host=host_config(name, classes=1))
    config.clip_detection.update(clip_detection)
    return config


@pytest.mark.parametrize('name', ['deformable', 'two_stage', 'dino', 'ddq'])
def test_a_tracker_trains_and_tracks(name: str):
    model = build_model(tracker_config(name))
    data = model.data_preprocessor(collate(make_clip(with_depth=False)), training=True)
    losses = model(**data, mode='loss')
    assert {'loss_cls', 'd0.loss_iou', 'loss_id', 'loss_contrastive'} < {*losses}
    total, _ = model.parse_losses(losses)
    total.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    model.eval()
    with torch.no_grad():
        (clip,) = model(**data, mode='predict')
    assert all('pred_track_instances' in frame for frame in clip)
