# Copyright (c) mmfdta authors.
"""Sparse R-CNN in a QueryDetector says what MMDetection's own class says."""

import copy
import pickle

import pytest
import torch
from mmdet.registry import MODELS
from small_fdta import build as build_model
from small_fdta import collate, make_clip, small_config
from small_hosts import (
    CHANNELS,
    CLASSES,
    QUERIES,
    STAGES,
    host_config,
    make_frames,
    sparse_rcnn,
)
from torch import nn

from mmfdta.models.detectors import ClipTargets
from mmfdta.models.mot.fdta import ClipDetection

SHAPES = [(64, 96), (48, 80), (64, 64)]
ADAPTER = dict(
    type='SpatialAdapter',
    num_bins=7,
    first_level=1,
    num_heads=2,
    feedforward_channels=24,
    dropout=0.0,
    num_groups=4,
)


def config(host: dict | None = None, **more) -> dict:
    return dict(
        type='QueryDetector',
        host=host or sparse_rcnn(),
        interface=dict(type='SparseRCNNInterface'),
        **more,
    )


def build(with_depth: bool = False, **host) -> nn.Module:
    more = {}
    if with_depth:
        more = dict(spatial_adapter=dict(ADAPTER), loss_depth=dict(type='DepthBinLoss'))
    torch.manual_seed(0)
    detector = MODELS.build(config(sparse_rcnn(**host), **more))
    detector.init_weights()
    with torch.no_grad():
        for weight in detector.parameters():
            weight += 0.05 * torch.randn_like(weight)
        # Boxes of all sizes, so that they pool from several levels.
        detector.host.rpn_head.init_proposal_bboxes.weight.copy_(
            torch.rand(QUERIES, 4) * 0.5 + 0.2
        )
    return detector


@pytest.fixture(scope='module')
def detector() -> nn.Module:
    return build()


@torch.no_grad()
@pytest.mark.parametrize('softmax', [False, True], ids=['sigmoid', 'softmax'])
def test_detections_are_the_hosts(softmax: bool):
    """On padded frames, with several classes; a query may come with two of them."""
    detector = build(softmax=softmax).eval()
    imgs, frames = make_frames([0, 0, 0], shapes=SHAPES)
    outputs = detector.detect(imgs, frames)
    assert outputs.cls_scores.shape == (STAGES, 3, QUERIES, CLASSES)
    assert outputs.embeddings.shape == (3, QUERIES, CHANNELS)
    expected = detector.host.predict(imgs, copy.deepcopy(frames))
    scores = outputs.cls_scores[-1].sigmoid()
    for i, ours in enumerate(outputs.on_host(frames)):
        theirs = expected[i].pred_instances
        for box, score, label in zip(
            theirs.bboxes, theirs.scores, theirs.labels, strict=True
        ):
            near = (ours.bboxes - box).abs().amax(1) < 1e-3
            assert (scores[i, near, label] - score).abs().min() < 1e-6
        assert abs(ours.scores.max() - theirs.scores.max()) < 1e-6


@pytest.mark.parametrize('counts', [[3, 0, 5], [1, 14, 2]])
def test_losses_are_the_hosts(detector: nn.Module, counts: list[int]):
    """Of frames with more objects than queries, too; all weights get gradients."""
    detector.train()
    imgs, frames = make_frames(counts, shapes=SHAPES)
    detector.zero_grad()
    outputs = detector.detect(imgs, frames)
    ((found, boxes),) = outputs.loss_parts
    assert boxes == sum(min(count, QUERIES) for count in counts)
    expected = detector.host.loss(imgs, copy.deepcopy(frames))
    expected = {name: value for name, value in expected.items() if 'loss' in name}
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    (sum(found.values()) + outputs.embeddings.sum()).backward()
    for name, parameter in detector.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_without_objects_losses_are_divided_by_one(detector: nn.Module):
    """MMDetection divides by 1.2e-7 then, which no training survives."""
    detector.train()
    imgs, frames = make_frames([0, 0], shapes=SHAPES[:2])
    found = detector.detect(imgs, frames).losses
    expected = detector.host.loss(imgs, copy.deepcopy(frames))
    for stage in range(STAGES):
        name = f's{stage}.loss_cls'
        assert expected[name] > 1e4 > 100 > found[name] > 0
        torch.testing.assert_close(found[name], expected[name] * 2**-23)
        assert found[f's{stage}.loss_bbox'] == 0


def test_chunks_train_like_one_pass():
    """Frames with many, few and no boxes; activations are computed again."""
    detector = build(with_depth=True).train()
    imgs, frames = make_frames([5, 0, 1, 12, 2], shapes=[*SHAPES, *SHAPES[:2]])
    targets = ClipTargets.from_samples(frames)
    found = []
    for chunk in (0, 2):
        detector.zero_grad()
        torch.manual_seed(0)
        outputs = ClipDetection(5, chunk)(detector, imgs[None], frames)
        losses, matches = detector.clip_losses(outputs, targets)
        (sum(losses.values()) + outputs.embeddings.square().mean()).backward()
        grads = [p.grad.clone() for p in detector.parameters() if p.grad is not None]
        found.append((losses, grads, matches.query_idx))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_leaves_losses_and_boxes_in_float32(dtype: torch.dtype):
    """Also those that features are pooled in: 261 in bfloat16 is 260."""
    detector = build(with_depth=True).train()
    imgs, frames = make_frames([3, 0], (64, 261))
    pooled_in = []
    for layer in detector.host.roi_head.bbox_roi_extractor[-1].roi_layers:
        layer.register_forward_pre_hook(lambda module, args: pooled_in.append(args[1]))
    with torch.autocast('cpu', dtype):
        outputs = detector.detect(imgs, frames)
        decoded, _ = detector.network(imgs, frames)
    assert decoded['sizes'][0, 0].tolist() == [261, 64, 261, 64]
    assert decoded['stages'][0][0].dtype == dtype
    boxes = [boxes for _, boxes in decoded['stages']]
    for value in (
        *(outputs.cls_scores, outputs.bbox_preds, *outputs.losses.values()),
        *(*boxes, *pooled_in),
    ):
        assert value.dtype == torch.float32
        assert value.isfinite().all()
    assert not torch.equal(boxes[-1], boxes[-1].to(dtype).float())
    sum(outputs.losses.values()).backward()


@torch.no_grad()
def test_queries_attend_to_the_depth_of_their_frame():
    """And where depth adds nothing they are the host's."""
    detector = build(with_depth=True).eval()
    imgs, frames = make_frames([0, 0, 0], shapes=SHAPES)
    seen = []

    def shift(adapter: nn.Module, args: tuple, depth: tuple) -> tuple:
        seen.append(depth)
        if len(seen) == 2:
            of_one = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
            return depth._replace(embed=depth.embed + of_one * torch.rand(CHANNELS))
        return depth

    detector.spatial_adapter.register_forward_hook(shift)
    plain, shifted = (detector.detect(imgs, frames).embeddings for _ in range(2))
    assert seen[0].logits.shape[-2:] == (8, 12)  # stride 8, of padded frames
    torch.testing.assert_close(shifted[[0, 2]], plain[[0, 2]])
    assert not shifted[1].allclose(plain[1], atol=1e-4)
    for stage, attention in zip(
        detector.interface.decoder_layers(detector.host),
        detector.depth_layers,
        strict=True,
    ):
        for norm in (stage.instance_interactive_conv_norm, attention.depth_norm):
            nn.init.ones_(norm.weight)
            nn.init.zeros_(norm.bias)
        for weight in attention.depth_attn.attn.out_proj.parameters():
            weight.zero_()
    found = detector.detect(imgs, frames).embeddings
    detector.spatial_adapter = None
    expected = detector.detect(imgs, frames).embeddings
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_copies_detect_the_same(detector: nn.Module):
    imgs, frames = make_frames([2, 1])
    detector.eval()
    expected = detector.detect(imgs, frames)
    for other in (copy.deepcopy(detector), pickle.loads(pickle.dumps(detector))):
        assert other.detect(imgs, frames).embeddings.equal(expected.embeddings)
    names = {f'host.{name}' for name in detector.host.state_dict()}
    assert names == {*detector.state_dict()}


def test_a_tracker_trains_and_tracks():
    tracker = small_config()
    tracker.detector = config(
        sparse_rcnn(classes=1),
        spatial_adapter=dict(ADAPTER),
        loss_depth=dict(type='DepthBinLoss'),
    )
    model = build_model(tracker)
    data = model.data_preprocessor(collate(make_clip()), training=True)
    losses = model(**data, mode='loss')
    assert {'s0.loss_cls', 's2.loss_iou', 'loss_depth', 'loss_id'} < {*losses}
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


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (dict(host=host_config('dino')), 'found ZooDINO, expected SparseRCNN without'),
        (dict(interface=None), r'found SparseRCNN, .*interface, see docs/any_detector'),
    ],
)
def test_refused_hosts(change: dict, words: str):
    with pytest.raises(ValueError, match=words):
        MODELS.build({**config(), **change})
