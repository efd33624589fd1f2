# Copyright (c) mmfdta authors.
"""FDTA with a Spatial Adapter on MMDetection's detectors: clips and sequences."""

import copy

import pytest
import torch
from mmengine.config import Config
from small_fdta import build, collate, make_clip, small_config
from small_hosts import DEPTH, host_config
from torch import nn

NAMES = ['two_stage', 'dino', 'ddq', 'dab', 'conditional', 'detr']


def config_on(name: str, **clip_detection) -> Config:
    """The small FDTA with all adapters, on a host."""
    config = small_config()
    parts = copy.deepcopy(DEPTH)
    config.detector = dict(
        type='QueryDetector', host=host_config(name, classes=1), **parts
    )
    config.clip_detection.update(clip_detection)
    config.tracker.update(det_thr=0.0, newborn_thr=0.0)
    return config


def _without_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(getattr(module, 'dropout', None), float):
            module.dropout = 0.0
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


@pytest.mark.parametrize('name', NAMES)
def test_clips_of_odd_sizes_train_every_part_and_give_tracks(name: str):
    """Of two sizes in one batch; one clip has nobody in it."""
    model = build(config_on(name)).train()
    clips = (
        make_clip(3, size=(61, 97), num_objects=4),
        make_clip(3, size=(50, 75), num_objects=0, seed=1),
    )
    data = model.data_preprocessor(collate(*clips), training=True)
    losses = model(**data, mode='loss')
    assert losses['loss_depth'] > 0
    total, _ = model.parse_losses(losses)
    total.backward()
    for key, weight in model.named_parameters():
        if weight.requires_grad:
            assert weight.grad is not None and weight.grad.isfinite().all(), key
    data = model.data_preprocessor(collate(clips[0]), training=False)
    with torch.no_grad():
        (clip,) = model.eval()(**data, mode='predict')
    found = [len(frame.pred_track_instances) for frame in clip]
    assert all(found), found


@pytest.mark.parametrize('name', ['two_stage', 'conditional'])
def test_chunks_of_a_clip_train_like_one_pass(name: str):
    """Depth of frames with and without gradients, in any parts, computed again."""
    clips = [make_clip(4, num_objects=n, seed=n) for n in (3, 5)]
    found = []
    for chunks in ((0, 0), (1, 1), (3, 2)):
        grad_chunk, no_grad_chunk = chunks
        config = config_on(name, grad_chunk=grad_chunk, no_grad_chunk=no_grad_chunk)
        # Queries are alike before training: rounding rules what contrasts them.
        config.identity_adapter = None
        model = _without_dropout(build(config)).train()
        model.clip_detection.frame_order = lambda length: torch.tensor([2, 0, 3, 1])
        data = model.data_preprocessor(collate(*clips), training=True)
        losses = model(**data, mode='loss')
        sum(losses.values()).backward()
        grads = {k: p.grad for k, p in model.named_parameters() if p.requires_grad}
        found.append((losses, grads))
    for losses, grads in found[1:]:
        torch.testing.assert_close(losses, found[0][0], rtol=1e-4, atol=1e-5)
        for key, expected in found[0][1].items():
            difference = (grads[key] - expected).norm()
            assert difference <= 1e-3 * expected.norm().clamp(min=1e-3), key


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('name', ['dino', 'ddq', 'detr'])
def test_half_precision_keeps_depth_and_losses_in_float32(name: str, dtype):
    model = build(config_on(name)).train()
    adapter, depths = model.detector.spatial_adapter, []
    embed = adapter.embed_depth
    adapter.embed_depth = lambda depth: depths.append(depth.dtype) or embed(depth)
    data = model.data_preprocessor(collate(make_clip()), training=True)
    plain = copy.deepcopy(model)
    with torch.autocast('cpu', dtype):
        losses = model(**data, mode='loss')
    assert depths and set(depths) == {torch.float32}
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    expected = plain(**data, mode='loss')
    assert losses.keys() == expected.keys()
    torch.testing.assert_close(
        losses['loss_depth'], expected['loss_depth'], rtol=0.02, atol=1e-3
    )
    sum(losses.values()).backward()
    for key, weight in model.named_parameters():
        if weight.grad is not None:
            assert weight.grad.isfinite().all(), key
