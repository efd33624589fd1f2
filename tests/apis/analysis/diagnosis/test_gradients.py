# Copyright (c) mmfdta authors.
"""Gradients of losses beside each other: against backward passes one by one."""

import copy

import pytest
import torch
from mmengine.config import Config
from small_fdta import build, collate, make_clip, small_config
from small_hosts import DEPTH, host_config
from torch import Tensor, nn

from mmfdta.apis.analysis.diagnosis.gradients import compare_gradients

LOSSES = ('loss_id', 'loss_contrastive')
# What a part's weights are called, with the dot that ends the name.
PARTS = dict(
    fdta=dict(decoder='detector.decoder.', spatial_adapter='detector.spatial_adapter.'),
    dino=dict(decoder='detector.host.decoder.', depth_layers='detector.depth_layers.'),
)


def tracker(name: str, **sharing: float) -> nn.Module:
    config = small_config()
    if name == 'dino':
        host = host_config('dino', classes=1)
        config.detector = dict(type='QueryDetector', host=host, **DEPTH)
    model = build(Config(dict(config.to_dict(), embedding_sharing=sharing))).train()
    with torch.no_grad():  # away from layers that start at zero
        rng = torch.Generator().manual_seed(1)
        for weight in model.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=rng)
    return model


def clips() -> list[dict]:
    found = []
    for seed in (0, 1):
        clip = make_clip(seed=seed)
        for frame in clip['data_samples']:
            # All of the frame: what an untrained detector finds lies in it, and is
            # good enough for the contrastive loss.
            frame.gt_instances.bboxes[:] = torch.tensor([0.0, 0.0, 96.0, 64.0])
        found.append(collate(clip))
    return found


def gradient(model: nn.Module, number: int, chosen, prefix: str) -> Tensor:
    """Of the chosen losses in a clip, by a forward and backward pass of its own."""
    model.zero_grad()
    torch.manual_seed(number)
    losses = model(**model.data_preprocessor(clips()[number], True), mode='loss')
    model.parse_losses({k: v for k, v in losses.items() if chosen(k)})[0].backward()
    return torch.cat(
        [
            (torch.zeros_like(p) if p.grad is None else p.grad).flatten()
            for k, p in model.named_parameters()
            if k.startswith(prefix) and p.requires_grad
        ]
    ).double()


@pytest.mark.parametrize('name', PARTS)
def test_shares_and_cosines_are_those_of_single_backward_passes(name: str):
    model = tracker(name)
    before = copy.deepcopy(model.state_dict())
    calls: list[None] = []
    found = compare_gradients(model, clips(), lambda: calls.append(None))
    assert len(calls) == 2
    assert all(p.grad is None for p in model.parameters())
    for key, value in model.state_dict().items():
        assert value.equal(before[key]), key
    for part, prefix in dict(PARTS[name], detector='detector.').items():
        for loss in LOSSES:
            shares, cosines = [], []
            for number in range(2):
                own = gradient(model, number, lambda k, loss=loss: k == loss, prefix)
                rest = gradient(model, number, lambda k: k not in LOSSES, prefix)
                shares.append(own.norm() / rest.norm())
                cosines.append(torch.cosine_similarity(own, rest, dim=0))
            of = found[part][loss]
            assert of['share'] > 0
            assert of['share'] == pytest.approx(float(sum(shares) / 2), rel=1e-3)
            assert of['cosine'] == pytest.approx(float(sum(cosines) / 2), abs=1e-3)


def test_sharing_scales_the_share_and_keeps_the_cosine():
    joint = compare_gradients(tracker('fdta'), clips(), lambda: None)
    model = tracker('fdta', id_gradient=0.25, contrastive_gradient=0.0)
    for part, of in compare_gradients(model, clips(), lambda: None).items():
        expected = joint[part]['loss_id']
        assert of['loss_id']['share'] == pytest.approx(0.25 * expected['share'], 1e-3)
        assert of['loss_id']['cosine'] == pytest.approx(expected['cosine'], abs=1e-3)
        assert of['loss_contrastive'] == dict(share=0.0, cosine=0.0)
