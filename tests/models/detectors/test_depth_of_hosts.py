# Copyright (c) mmfdta authors.
"""The Spatial Adapter on MMDetection's detectors, against FDTA's own detector."""

import copy
import pickle

import pytest
import torch
from mmdet.registry import MODELS
from small_hosts import (
    CHANNELS,
    CLASSES,
    DEPTH,
    HOSTS,
    host_config,
    make_frames,
)
from torch import Tensor, nn

from mmfdta.models.detectors import ClipTargets
from mmfdta.ops import accelerate

ADAPTER, DEPTH_LOSS = DEPTH['spatial_adapter'], DEPTH['loss_depth']
BATCHES = {
    'whole': ([2, 0, 3], (64, 96), None),
    'padded': ([2, 0, 3], (64, 96), [(64, 96), (51, 96), (64, 7)]),
    'odd': ([1, 4, 2], (61, 97), [(60, 97), (61, 96), (33, 50)]),
    'without objects': ([0, 0], (64, 96), [(64, 96), (40, 64)]),
}


def _liven(module: nn.Module) -> nn.Module:
    """Weights away from where they start, some of them at zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in module.parameters():
            weight += 0.03 * torch.randn_like(weight)
    return module


def _detector(name: str, **more) -> nn.Module:
    torch.manual_seed(0)
    config = dict(
        type='QueryDetector',
        host=host_config(name),
        spatial_adapter=dict(ADAPTER),
        loss_depth=dict(DEPTH_LOSS),
    )
    detector = MODELS.build({**config, **more})
    detector.init_weights()
    return _liven(detector)


def _fdta_detector() -> nn.Module:
    """FDTA's own, with the numbers of the small Deformable DETR."""
    config = host_config('deformable')
    config.update(type='FDTADetector', spatial_adapter=dict(ADAPTER))
    config['bbox_head'].update(type='FDTAHead', loss_depth=dict(DEPTH_LOSS))
    del config['train_cfg'], config['test_cfg']
    torch.manual_seed(0)
    detector = MODELS.build(config)
    detector.init_weights()
    return _liven(detector)


def _name_beside(name: str) -> str:
    """What FDTADetector calls a weight, as QueryDetector calls it."""
    if name.startswith('spatial_adapter.'):
        return name
    if '.depth_' in name:
        return name.replace('decoder.layers.', 'depth_layers.')
    return f'host.{name}'


def _losses(
    detector: nn.Module, imgs: Tensor, frames: list, recompute: bool = False
) -> tuple:
    """Outputs for all frames with gradients, and losses."""
    maps = torch.rand(len(frames), 1, *imgs.shape[-2:]) * 255
    outputs = detector.detect(imgs, frames, recompute)
    targets = ClipTargets.from_samples(frames)
    losses, matches = detector.clip_losses(outputs, targets, maps)
    return outputs, losses, matches


@pytest.mark.parametrize('batch', BATCHES)
def test_depth_beside_deformable_detr_is_depth_inside_of_it(batch: str):
    """Outputs, matches, losses and gradients, with the same weights."""
    counts, size, shapes = BATCHES[batch]
    imgs, frames = make_frames(counts, size, shapes)
    inside, beside = _fdta_detector().train(), _detector('deformable').train()
    weights = {_name_beside(k): v for k, v in inside.state_dict().items()}
    beside.load_state_dict(weights)
    (expected, wanted, pairs), (found, losses, matches) = (
        (torch.manual_seed(0), _losses(detector, imgs, frames))[1]
        for detector in (inside, beside)
    )
    for name in ('cls_scores', 'bbox_preds', 'embeddings', 'depth_logits'):
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), rtol=1e-5, atol=1e-5
        )
    assert torch.equal(matches.on_host, pairs.on_host)
    torch.testing.assert_close(losses, wanted, rtol=1e-5, atol=1e-6)
    assert losses['loss_depth'] > 0
    direction = torch.randn_like(found.embeddings)
    for outputs, values in ((expected, wanted), (found, losses)):
        total = sum(values.values()) + (outputs.embeddings * direction).sum()
        total.backward()
    known = dict(beside.named_parameters())
    for name, weight in inside.named_parameters():
        grad = known[_name_beside(name)].grad
        assert (grad is None) == (weight.grad is None), name
        if grad is not None:
            scale = weight.grad.abs().max().clamp(min=1e-3)
            torch.testing.assert_close(
                grad / scale, weight.grad / scale, rtol=0, atol=1e-4, msg=name
            )
    for detector in (inside, beside):
        detector.eval()
    with torch.no_grad():
        expected, found = (d.detect(imgs, frames) for d in (inside, beside))
    torch.testing.assert_close(
        found.embeddings, expected.embeddings, rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(
        found.cls_scores, expected.cls_scores, rtol=1e-5, atol=1e-5
    )


@pytest.fixture(scope='module', params=[*HOSTS])
def detector(request: pytest.FixtureRequest) -> nn.Module:
    return _detector(request.param)


def _neutral(detector: nn.Module) -> nn.Module:
    """A copy whose queries get nothing from depth, and pass norms as they are."""
    detector = copy.deepcopy(detector).eval()
    with torch.no_grad():
        for layer in detector.interface.decoder_layers(detector.host):
            nn.init.ones_(layer.norms[1].weight)
            nn.init.zeros_(layer.norms[1].bias)
        for attention in detector.depth_layers:
            attention.depth_attn.attn.out_proj.weight.zero_()
            attention.depth_attn.attn.out_proj.bias.zero_()
            nn.init.ones_(attention.depth_norm.weight)
            nn.init.zeros_(attention.depth_norm.bias)
    return detector


@torch.no_grad()
@pytest.mark.parametrize('batch', ['whole', 'odd'])
def test_a_host_whose_queries_get_nothing_is_the_host(detector: nn.Module, batch: str):
    """Attention that adds nothing before a norm of what is normalised already."""
    imgs, frames = make_frames(*BATCHES[batch])
    detector = _neutral(detector)
    found = detector.detect(imgs, frames)
    expected = detector.host.forward_transformer(
        detector.host.extract_feat(imgs), frames
    )['hidden_states'][-1]
    torch.testing.assert_close(found.embeddings, expected, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_depth_of_a_frame_reaches_the_queries_of_that_frame(detector: nn.Module):
    """Of a padded frame too, and no padding reaches any."""
    counts, size, shapes = BATCHES['padded']
    imgs, frames = make_frames(counts, size, shapes)
    detector = copy.deepcopy(detector).eval()
    embeds, channels = [], detector.embed_dims

    def shift(adapter: nn.Module, args: tuple, depth: tuple) -> tuple:
        embeds.append(depth)
        more = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
        if len(embeds) == 2:
            return depth._replace(embed=depth.embed + more * torch.rand(channels))
        beyond = depth.mask[..., None] * 10.0
        return depth._replace(embed=depth.embed + beyond * (len(embeds) == 3))

    detector.spatial_adapter.register_forward_hook(shift)
    plain, shifted, beyond = (
        detector.detect(imgs, frames).embeddings for _ in range(3)
    )
    assert torch.equal(embeds[0].mask, embeds[1].mask) and embeds[0].mask[2].any()
    torch.testing.assert_close(shifted[[0, 2]], plain[[0, 2]])
    assert not shifted[1].allclose(plain[1], atol=1e-4)
    torch.testing.assert_close(beyond, plain)


def test_depth_supervision_trains_the_adapter_only(detector: nn.Module):
    """And the queries' losses train all of its weights and of the attention's."""
    imgs, frames = make_frames(*BATCHES['padded'])
    detector = copy.deepcopy(detector).train()
    outputs, losses, _ = _losses(detector, imgs, frames)
    learns = {k: p for k, p in detector.named_parameters() if p.requires_grad}
    names, weights = [*learns], [*learns.values()]
    trained = {
        name
        for name, grad in zip(
            names,
            torch.autograd.grad(
                losses['loss_depth'], weights, retain_graph=True, allow_unused=True
            ),
            strict=True,
        )
        if grad is not None
    }
    assert trained and all(
        name.startswith('spatial_adapter.') and 'encoder' not in name
        for name in trained
    )
    own = sum(v for k, v in losses.items() if k != 'loss_depth')
    grads = torch.autograd.grad(own, weights, allow_unused=True)
    for name, grad in zip(names, grads, strict=True):
        if name.startswith(('spatial_adapter.', 'depth_layers.')):
            assert grad is not None and grad.isfinite().all(), name
    assert outputs.depth_logits.shape[:2] == (3, ADAPTER['num_bins'] + 1)


def test_weights_of_a_host_keep_their_names(detector: nn.Module):
    """A host's weights load as MMDetection writes them; copies detect the same."""
    names = [k for k in detector.state_dict() if k.startswith('host.')]
    assert names == [f'host.{k}' for k in detector.host.state_dict()]
    others = {k.split('.')[0] for k in detector.state_dict()} - {'host'}
    assert others == {'spatial_adapter', 'depth_layers'}
    imgs, frames = make_frames(*BATCHES['padded'])
    detector = detector.eval()
    with torch.no_grad():
        expected = detector.detect(imgs, frames)
        for copied in (
            copy.deepcopy(detector),
            pickle.loads(pickle.dumps(detector)),
        ):
            found = copied.detect(imgs, frames)
            assert found.embeddings.equal(expected.embeddings)
            assert found.depth_logits.equal(expected.depth_logits)
        found = accelerate(copied).detect(imgs, frames)
    torch.testing.assert_close(
        found.embeddings, expected.embeddings, rtol=1e-3, atol=5e-4
    )


@pytest.mark.parametrize('host', ['dino', 'ddq', 'conditional'])
def test_activations_that_are_computed_again_are_the_same(host: str):
    """With the noise of denoising queries, and depth attention once more."""
    imgs, frames = make_frames(*BATCHES['padded'])
    detector = _detector(host).train()
    found = []
    for recompute in (False, True):
        torch.manual_seed(3)
        outputs, losses, _ = _losses(detector, imgs, frames, recompute)
        total = sum(losses.values()) + outputs.embeddings.square().sum()
        weights = [p for p in detector.parameters() if p.requires_grad]
        grads = torch.autograd.grad(total, weights, allow_unused=True)
        found.append((losses, [g for g in grads if g is not None]))
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-7)


def test_five_scales_start_at_the_second():
    """Swin-L's neck gives stride 4 first, whose map would be four times as large."""
    detector = _detector('deformable', spatial_adapter=dict(ADAPTER, first_level=1))
    imgs, frames = make_frames(*BATCHES['padded'])
    outputs = detector.eval().detect(imgs, frames)
    assert outputs.depth_logits.shape[-2:] == (4, 6)
    mask = torch.zeros(3, 4, 6, dtype=torch.bool)
    mask[2, :, 1:] = True  # rows 0, 16, 32 and 48 are within 51 pixels
    seen = []
    detector.spatial_adapter.register_forward_hook(lambda m, a, out: seen.append(out))
    detector.detect(imgs, frames)
    assert torch.equal(seen[0].mask.view(3, 4, 6), mask)


@pytest.mark.parametrize(
    ('changes', 'message'),
    {
        'bins': (
            dict(loss_depth=dict(DEPTH_LOSS, num_bins=9)),
            'loss_depth.num_bins = 9, .*spatial_adapter.num_bins = 7',
        ),
        'channels': (
            dict(spatial_adapter=dict(ADAPTER, embed_dims=8)),
            f'embed_dims = 8, .*host.bbox_head.embed_dims = {CHANNELS}',
        ),
        'heads': (
            dict(depth_attn_cfg=dict(num_heads=3)),
            'divisible by num_heads',
        ),
    }.values(),
)
def test_numbers_that_do_not_agree_are_refused(changes: dict, message: str):
    with pytest.raises((ValueError, AssertionError), match=message):
        _detector('deformable', **changes)


def test_depth_attention_takes_its_heads_from_the_host():
    for name, heads in (('dino', 2), ('conditional', 2)):
        detector = _detector(name)
        assert {a.depth_attn.num_heads for a in detector.depth_layers} == {heads}
    detector = _detector('dino', depth_attn_cfg=dict(num_heads=4, dropout=0.1))
    assert {a.depth_attn.attn.num_heads for a in detector.depth_layers} == {4}
    assert {a.depth_attn.attn.dropout for a in detector.depth_layers} == {0.1}
    assert detector.host.bbox_head.num_classes == CLASSES
