# Copyright (c) mmfdta authors.
"""Ways in which depth enters a detector besides the released one."""

import copy

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from recorded import Recorded
from small_fdta import build, small_config
from small_hosts import DEPTH, host_config, make_frames
from torch import nn

from mmfdta.apis.export import detector_graph, operators
from mmfdta.models.detectors import ClipTargets
from mmfdta.models.detectors import depth as depth_of_detectors

GATE = dict(depth_attn_cfg=dict(gated=True))
LOSS_ONLY = dict(spatial_adapter=dict(with_embedding=False, feature_gradient=1.0))
SHAPES = [(64, 96), (51, 96), (64, 7)]
FRAMES = [2, 0, 3], (64, 96), SHAPES


def _own(way: dict | None) -> nn.Module:
    """FDTA's own detector; None has no depth."""
    detector = copy.deepcopy(small_config().detector)
    if way is None:
        detector.update(spatial_adapter=None)
        detector.bbox_head.loss_depth = None
    else:
        detector.merge(way)
    return MODELS.build(detector)


def _on_host(way: dict | None) -> nn.Module:
    """Any detector of MMDetection; None has no depth."""
    parts = {}
    if way is not None:
        parts = copy.deepcopy(DEPTH)
        parts['spatial_adapter'].update(way.get('spatial_adapter', {}))
        parts.update({k: v for k, v in way.items() if k != 'spatial_adapter'})
    host = host_config('deformable')
    return MODELS.build(dict(type='QueryDetector', host=host, **parts))


@pytest.fixture(params=[_own, _on_host])
def make(request: pytest.FixtureRequest):
    return request.param


def _livened(make, way: dict | None, gate: float = 0.0) -> nn.Module:
    """The same weights of what both have, away from where they start."""
    detector = make(way)
    with torch.no_grad():
        for name, weight in detector.named_parameters():
            generator = torch.Generator().manual_seed(sum(name.encode()))
            value = 0.2 * torch.randn(weight.shape, generator=generator)
            weight.copy_(value + (weight.dim() == 1))
            if name.endswith('gate'):
                weight.fill_(gate)
    return detector.eval()


@torch.no_grad()
@pytest.mark.parametrize('way', [GATE, LOSS_ONLY], ids=['gate', 'loss only'])
def test_it_starts_at_the_plain_detector(make, way: dict):
    """Bit by bit, with the weights of the plain one."""
    imgs, frames = make_frames(*FRAMES)
    expected = _livened(make, None).detect(imgs, frames)
    found = _livened(make, way).detect(imgs, frames)
    for name in ('cls_scores', 'bbox_preds', 'embeddings'):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert found.depth_logits is not None and expected.depth_logits is None
    opened = _livened(make, GATE, 0.5).detect(imgs, frames)
    assert not opened.embeddings.allclose(expected.embeddings, atol=1e-3)


def test_depth_alone_trains_backbone_and_neck(make):
    """And nothing behind them; no query's loss trains what predicts depth."""
    imgs, frames = make_frames(*FRAMES)
    detector = _livened(make, LOSS_ONLY).train()
    assert not [n for n in detector.state_dict() if 'depth_attn' in n]
    outputs = detector.detect(imgs, frames)
    learns = {k: p for k, p in detector.named_parameters() if p.requires_grad}

    def trained(value: torch.Tensor) -> set[str]:
        grads = torch.autograd.grad(
            value, [*learns.values()], retain_graph=True, allow_unused=True
        )
        pairs = zip(learns, grads, strict=True)
        return {name for name, grad in pairs if grad is not None and grad.any()}

    names = trained(outputs.depth_logits.square().sum())
    parts = {name.removeprefix('host.').split('.')[0] for name in names}
    assert parts == {'backbone', 'neck', 'spatial_adapter'}
    assert not [n for n in trained(outputs.embeddings.sum()) if 'spatial' in n]


def test_single_frames_supervise_depth_as_clips_do():
    imgs, frames = make_frames(*FRAMES, classes=1)
    maps = torch.randint(0, 256, (3, 1, 64, 96), dtype=torch.uint8)
    detector = _livened(_own, {})
    loss = detector.bbox_head.loss_by_feat
    taken = []
    detector.bbox_head.loss_by_feat = lambda *args: (taken.append(args), loss(*args))[1]
    without = detector.loss(imgs, frames)
    for frame, depth, (height, width) in zip(frames, maps, SHAPES, strict=True):
        depth[:, height:], depth[..., width:] = 0, 0
        frame.gt_depth = PixelData(data=depth[:, :height, :width].clone())
    found = detector.loss(imgs, frames)
    assert found.keys() - without.keys() == {'loss_depth'}
    assert torch.equal(taken[1][2], maps.float())
    assert found['loss_depth'] > 0
    for name, value in without.items():
        torch.testing.assert_close(found[name], value)
    del frames[1].gt_depth
    partly = detector.loss(imgs, frames)
    assert taken[2][2][1].isnan().all()
    assert torch.equal(taken[2][2][[0, 2]], maps[[0, 2]].float())
    assert 0 < partly['loss_depth'] < found['loss_depth']


def test_depth_alone_gets_no_step_without_maps(make, monkeypatch):
    """In one process without a gradient, in one of several with zeros."""
    imgs, frames = make_frames(*FRAMES, classes=1 if make is _own else 2)
    steps = []
    for several in (False, True):
        monkeypatch.setattr(
            depth_of_detectors, 'is_distributed', lambda several=several: several
        )
        detector = _livened(make, LOSS_ONLY).train()
        wrapper = build_optim_wrapper(
            detector,
            dict(
                type='GroupClipOptimWrapper',
                optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.1),
            ),
        )
        wrapper.initialize_count_status(detector, 0, 1)
        torch.manual_seed(0)
        outputs = detector.detect(imgs, frames)
        targets = ClipTargets.from_samples(frames)
        losses, _ = detector.clip_losses(outputs, targets)
        assert losses.get('loss_depth') == (0 if several else None)
        learns = [p for p in detector.parameters() if p.requires_grad]
        total = sum(losses.values())
        grads = torch.autograd.grad(total, learns, retain_graph=True, allow_unused=True)
        assert several == all(grad is not None for grad in grads)
        wrapper.update_params(total)
        steps.append(detector.state_dict())
    torch.testing.assert_close(*steps, rtol=0, atol=0)


@pytest.mark.parametrize('way', [GATE, LOSS_ONLY], ids=['gate', 'loss only'])
def test_a_graph_has_what_detection_needs(way: dict):
    """A half open gate as PyTorch has it, and nothing of depth that no query sees."""
    config = small_config()
    config.detector.merge(way)
    config.detector.decoder.num_layers = 2
    model = build(config).eval()
    with torch.no_grad():
        for name, weight in model.detector.named_parameters():
            weight += 0.05 * torch.randn_like(weight)
            if name.endswith('gate'):
                weight.uniform_(0.3, 0.7)
    size = 64, 96
    recorded = Recorded(detector_graph(model, size))
    frames = torch.randint(0, 256, (2, 3, *size)).to(torch.uint8)
    batch = model.data_preprocessor(dict(inputs=dict(img=[frames])))
    with torch.no_grad():
        expected = model.detector.detect(batch['inputs']['img'][0])
    names = ['boxes', 'embeddings']
    feeds = dict(frames=frames.numpy(), sizes=np.array([size, size]))
    boxes, embeddings = recorded.session.run(names, feeds)
    torch.testing.assert_close(
        torch.from_numpy(embeddings), expected.embeddings, rtol=0, atol=5e-4
    )
    torch.testing.assert_close(
        torch.from_numpy(boxes), expected.bbox_preds[-1], rtol=0, atol=1e-5
    )
    modules = dict(model.detector.named_modules())
    convolutions = [n for n, part in modules.items() if isinstance(part, nn.Conv2d)]
    used = [n for n in convolutions if way is GATE or 'spatial_adapter' not in n]
    # `coarse_proj` takes two levels.
    assert operators(recorded.proto)['Conv'] == len(used) + (way is GATE)
