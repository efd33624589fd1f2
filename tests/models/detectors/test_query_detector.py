# Copyright (c) mmfdta authors.
"""Every host says through QueryDetector what MMDetection's own class says."""

import copy
import pickle
from pathlib import Path

import pytest
import torch
from mmdet.models.detectors import DINO
from mmdet.registry import MODELS
from mmengine.config import Config
from small_fdta import build as build_model
from small_fdta import collate, make_clip, small_config
from small_hosts import DEPTH, HOSTS, QUERIES, host_config, make_frames

from mmfdta.models.detectors import ClipTargets, DetrInterface
from mmfdta.models.detectors.detr_interface import NO_DETECTION
from mmfdta.models.mot.fdta import ClipDetection
from mmfdta.ops import accelerate

SHAPES = [(64, 96), (48, 80), (64, 64)]


def build(name: str):
    torch.manual_seed(0)
    detector = MODELS.build(dict(type='QueryDetector', host=host_config(name)))
    detector.name = name
    detector.init_weights()
    # Initial class and box branches say the same of every query.
    for module in detector.host.bbox_head.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.5 / module.in_features**0.5)
    return detector


@pytest.fixture(scope='module', params=HOSTS)
def detector(request):
    return build(request.param)


def test_layers_are_what_the_heads_read(detector):
    detector.eval()
    imgs, frames = make_frames([0, 0, 0], shapes=SHAPES)
    with torch.no_grad():
        expected = detector.detect(imgs, frames)
        outputs, layers = detector.detect_by_layer(imgs, frames)
    for name in ('cls_scores', 'bbox_preds', 'embeddings'):
        assert torch.equal(getattr(outputs, name), getattr(expected, name))
    assert torch.equal(layers[-1], outputs.embeddings)
    assert len(layers) == len(detector.interface.decoder_layers(detector.host))
    branches = getattr(detector.host.bbox_head, 'cls_branches', None)
    if branches is None or detector.name == 'ddq':  # which rules queries out
        return
    for branch, states, scores in zip(
        branches, layers, outputs.cls_scores, strict=False
    ):
        torch.testing.assert_close(branch(states), scores)


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


def _grads(detector, losses, *more):
    """Gradients of all parameters that have any."""
    detector.zero_grad()
    sum([*losses.values(), *more]).backward()
    found = {k: p.grad for k, p in detector.named_parameters()}
    return {k: grad.clone() for k, grad in found.items() if grad is not None}


@pytest.mark.parametrize('name', ['deformable', 'conditional'])
def test_chunks_train_like_one_pass(name: str):
    """Frames with many, few and no boxes, with activation checkpointing."""
    detector = build(name).train()
    imgs, frames = make_frames([5, 0, 1, 12, 2], shapes=[*SHAPES, *SHAPES[:2]])
    targets = ClipTargets.from_samples(frames)
    found = []
    for chunk in (0, 2, 1):
        detection = ClipDetection(num_grad_frames=5, grad_chunk=chunk)
        outputs = detection(detector, imgs[None], frames)
        losses, matches = detector.clip_losses(outputs, targets)
        norm = outputs.embeddings.square().mean()
        found.append((losses, _grads(detector, losses, norm), matches.query_idx))
    for chunked in found[1:]:
        torch.testing.assert_close(chunked, found[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('name', ['dino', 'ddq'])
def test_recomputed_noise_is_the_same(name: str):
    detector = build(name).train()
    imgs, frames = make_frames([5, 0, 1], shapes=SHAPES)
    found = []
    for recompute in (False, True):
        torch.manual_seed(3)
        outputs = detector.detect(imgs, frames, recompute=recompute)
        norm = outputs.embeddings.square().mean()
        found.append((outputs.losses, _grads(detector, outputs.losses, norm)))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


def test_frames_without_gradients_have_no_losses():
    detector = build('dino').train()
    imgs, frames = make_frames([3, 1, 2, 4])
    outputs = ClipDetection(num_grad_frames=1)(detector, imgs[None], frames)
    assert len(outputs.loss_parts) == 1
    assert outputs.cls_scores.shape[1:3] == (4, QUERIES)
    losses, matches = detector.clip_losses(outputs, ClipTargets.from_samples(frames))
    assert 'dn_loss_cls' in losses
    assert (matches.query_idx >= 0).sum((1, 2)).tolist() == [10, 10]


def test_what_ddq_rules_out_is_matched_to_nothing():
    detector = build('ddq').train()
    imgs, frames = make_frames([3, 4])
    outputs = detector.detect(imgs, frames)
    targets = ClipTargets.from_samples(frames)
    # A query right at a box is ruled out.
    outputs.bbox_preds[:, 0, 7] = targets.boxes[0, 1]
    outputs.cls_scores[-1, 0, 7] = NO_DETECTION
    _, matches = detector.clip_losses(outputs, targets)
    assert (matches.query_idx[-1, 0] != 7).all()
    assert (matches.query_idx[-2, 0] == 7).any()
    assert outputs.on_host(frames)[0].scores[7] == 0


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_leaves_losses_and_boxes_in_float32(detector, dtype):
    detector.train()
    imgs, frames = make_frames([3, 0, 5], shapes=SHAPES)
    with torch.autocast('cpu', dtype):
        outputs = detector.detect(imgs, frames)
    for value in (outputs.cls_scores, outputs.bbox_preds, *outputs.losses.values()):
        assert value.dtype == torch.float32
        assert value.isfinite().all()
    for grad in _grads(detector, outputs.losses).values():
        assert grad.isfinite().all()
    # What bfloat16 makes of 0.7 is a multiple of 1 / 256.
    assert (outputs.bbox_preds * 256 % 1 > 0.01).any()


def test_copies_detect_the_same(detector):
    imgs, frames = make_frames([2, 1])
    detector.train()
    trained = detector.detect(imgs, frames)
    sum(trained.losses.values()).backward()
    detector.eval()
    copies = [copy.deepcopy(detector), pickle.loads(pickle.dumps(detector))]
    fresh = build(detector.name)
    fresh.load_state_dict(detector.state_dict())
    with torch.no_grad():
        expected = detector.detect(imgs, frames)
        for other in (*copies, fresh.eval()):
            found = other.detect(imgs, frames)
            assert found.embeddings.equal(expected.embeddings)
            assert found.cls_scores.equal(expected.cls_scores)


def test_accelerated_detections_are_the_same(detector):
    imgs, frames = make_frames([0, 0, 0], shapes=SHAPES)
    fast = accelerate(copy.deepcopy(detector)).eval()
    with torch.no_grad():
        found, expected = (d.eval().detect(imgs, frames) for d in (fast, detector))
    torch.testing.assert_close(found.embeddings, expected.embeddings)
    torch.testing.assert_close(found.cls_scores, expected.cls_scores)
    torch.testing.assert_close(found.bbox_preds, expected.bbox_preds)


def test_predictions_that_cannot_be_matched_are_named():
    detector = build('dino').train()
    imgs, frames = make_frames([3])
    with pytest.raises(FloatingPointError, match='DINO predicts NaN or Inf'):
        detector.detect(imgs * float('nan'), frames)


def test_a_detector_that_wants_text_is_refused():
    class Worded(DINO):
        def forward_transformer(self, img_feats, text_dict, batch_data_samples=None):
            raise NotImplementedError

    host = MODELS.build(host_config('dino'))
    host.__class__ = Worded
    with pytest.raises(ValueError, match='found Worded, .* takes only images'):
        DetrInterface().prepare(host)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (dict(type='YOLOX'), r'host.type: found YOLOX, .*DINO.*interface'),
        (dict(type='FDTADetector'), 'FDTADetector is a detector of this project'),
        (
            dict(data_preprocessor=dict(type='DetDataPreprocessor')),
            'host.data_preprocessor: nothing would call',
        ),
    ],
)
def test_refused_hosts(change: dict, words: str):
    host = dict(host_config('dino'), **change)
    if host['type'] == 'FDTADetector':
        host = small_config().detector
    if host['type'] == 'YOLOX':
        path = Path(__file__).parents[3] / 'configs/_base_/models/yolox_nano_coco.py'
        host = Config.fromfile(path).model.detector
    with pytest.raises(ValueError, match=words):
        MODELS.build(dict(type='QueryDetector', host=host))


@pytest.mark.parametrize(
    ('argument', 'words'),
    [
        (
            dict(interface='DetrInterface'),
            r"detector.interface: found .*write dict\(type='DetrInterface'\)",
        ),
        (
            dict(loss_depth=DEPTH['loss_depth']),
            'detector.loss_depth is set, but there is no .*spatial_adapter',
        ),
        (
            dict(spatial_adapter=dict(DEPTH['spatial_adapter'], first_level=4)),
            'first_level=4, but the detector has 4 level',
        ),
        (
            dict(
                spatial_adapter=dict(
                    DEPTH['spatial_adapter'], first_level=2, num_levels=3
                )
            ),
            'first_level=2 and num_levels=3, but the detector has 4 level',
        ),
    ],
)
def test_refused_arguments(argument: dict, words: str):
    with pytest.raises(ValueError, match=words):
        MODELS.build(
            dict(type='QueryDetector', host=host_config('deformable'), **argument)
        )


def test_the_layer_to_match_on_is_one_of_the_detector():
    config = small_config()
    config.detector = dict(type='QueryDetector', host=host_config('dino', layers=1))
    with pytest.raises(ValueError, match='match_layer: found -2, .* -1 to 0'):
        build_model(config)
    config.match_layer = -1
    model = build_model(config).train()
    losses = model.loss(**model.data_preprocessor(collate(make_clip()), training=True))
    assert losses['loss_id'].isfinite()
    for layer in (-4, 3):
        config = small_config()
        config.match_layer = layer
        with pytest.raises(ValueError, match=f'found {layer}, .* from -3 to 2'):
            build_model(config)
