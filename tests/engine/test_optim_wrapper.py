# Copyright (c) mmfdta authors.
"""Parameter groups, separate clipping, warm-up."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmfdta.engine import IterWarmupLR


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.detector = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.identity_adapter = nn.Linear(4, 4)
        self.decoder = nn.Linear(4, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)

    def forward(self, x):
        x = self.detector(x)
        return 100 * self.decoder(x).sum() + 1e-3 * self.identity_adapter(x).sum()


def _config(**kwargs) -> dict:
    return dict(
        type='GroupClipOptimWrapper',
        constructor='GroupedOptimWrapperConstructor',
        optimizer=dict(type='SGD', lr=1.0, weight_decay=0.5),
        clip_grad=dict(max_norm=0.1),
        clip_groups=dict(detector='detector.', identity_adapter='identity_adapter.'),
        **kwargs,
    )


def _norm(parameters) -> float:
    return float(torch.cat([p.grad.flatten() for p in parameters]).norm())


def test_parts_are_clipped_separately():
    torch.manual_seed(0)
    model = Model()
    wrapper = build_optim_wrapper(model, _config())
    model(torch.randn(3, 4)).backward()
    parts = [model.detector, model.identity_adapter, model.decoder]
    before = [_norm(part.parameters()) for part in parts]
    wrapper._clip_grad()
    after = [_norm(part.parameters()) for part in parts]
    for part, (old, new) in enumerate(zip(before, after, strict=True)):
        assert new == pytest.approx(min(old, 0.1), rel=1e-4), part
    hub = wrapper.message_hub
    for name, norm in zip(
        ('detector', 'identity_adapter', 'other'), before, strict=True
    ):
        logged = hub.get_scalar(f'train/grad_norm_{name}').current()
        assert float(logged) == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize(('limit', 'clipped'), [(None, False), (1e-4, True)])
def test_a_part_has_a_limit_of_its_own(limit: float | None, clipped: bool):
    torch.manual_seed(0)
    model = Model()
    part = dict(prefix='identity_adapter.', max_norm=limit)
    groups = dict(detector='detector.', identity_adapter=part)
    wrapper = build_optim_wrapper(model, _config() | dict(clip_groups=groups))
    (1e3 * model(torch.randn(3, 4))).backward()
    parts = [model.detector, model.identity_adapter, model.decoder]
    before = [_norm(p.parameters()) for p in parts]
    assert min(before) > 0.1
    wrapper._clip_grad()
    after = [_norm(p.parameters()) for p in parts]
    expected = [0.1, 1e-4 if clipped else before[1], 0.1]
    assert after == pytest.approx(expected, rel=1e-3)
    logged = wrapper.message_hub.get_scalar('train/grad_norm_identity_adapter')
    assert float(logged.current()) == pytest.approx(before[1], rel=1e-5)


@pytest.mark.parametrize('clip_grad', [None, dict(type='value', clip_value=0.1)])
def test_a_limit_of_a_norm_needs_norms(clip_grad: dict | None):
    part = dict(prefix='identity_adapter.', max_norm=0.5)
    config = _config() | dict(clip_grad=clip_grad, clip_groups=dict(adapter=part))
    with pytest.raises(ValueError, match=r"groups\['adapter'\]: found max_norm = 0.5"):
        build_optim_wrapper(Model(), config)


def test_values_are_clipped_except_in_a_part_without_a_limit():
    torch.manual_seed(0)
    model = Model()
    part = dict(prefix='identity_adapter.', max_norm=None)
    clip = dict(type='value', clip_value=0.1)
    config = _config() | dict(clip_grad=clip, clip_groups=dict(adapter=part))
    wrapper = build_optim_wrapper(model, config)
    (1e3 * model(torch.randn(3, 4))).backward()
    grads = {k: p.grad.clone() for k, p in model.named_parameters() if p.requires_grad}
    wrapper._clip_grad()
    for name, param in model.named_parameters():
        if param.requires_grad:
            free = name.startswith('identity_adapter.')
            wanted = grads[name] if free else grads[name].clamp(-0.1, 0.1)
            torch.testing.assert_close(param.grad, wanted)


def test_groups():
    keys = {'detector.0': dict(lr_mult=0.1), 'decoder': dict(decay_mult=0.0)}
    model = Model()
    wrapper = build_optim_wrapper(model, _config(paramwise_cfg=dict(custom_keys=keys)))
    found = {
        id(p): (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups
        for p in group['params']
    }
    expected = {}
    for name, param in model.named_parameters():
        if name.startswith('frozen'):
            continue
        expected[id(param)] = (
            pytest.approx(0.1 if name.startswith('detector.0') else 1.0),
            0.0 if name.startswith('decoder') else 0.5,
        )
    assert found == expected
    assert len(wrapper.optimizer.param_groups) == 3
    assert wrapper.get_lr()['lr'][0] == 1.0


@pytest.mark.parametrize('order', [1, -1])
def test_the_longest_key_counts_in_any_order(order: int):
    keys = {'detector': dict(lr_mult=0.5), 'detector.0': dict(lr_mult=0.1)}
    keys = dict(list(keys.items())[::order])
    model = Model()
    wrapper = build_optim_wrapper(model, _config(paramwise_cfg=dict(custom_keys=keys)))
    rates = {id(p): g['lr'] for g in wrapper.param_groups for p in g['params']}
    assert rates[id(model.detector[0].weight)] == pytest.approx(0.1)
    assert rates[id(model.detector[1].weight)] == pytest.approx(0.5)
    assert rates[id(model.decoder.weight)] == pytest.approx(1.0)


@pytest.mark.parametrize('order', [1, -1])
def test_the_longest_prefix_is_clipped_in_any_order(order: int):
    torch.manual_seed(0)
    model = Model()
    groups = dict(detector='detector.', first='detector.0.')
    groups = dict(list(groups.items())[::order])
    wrapper = build_optim_wrapper(model, _config() | dict(clip_groups=groups))
    model(torch.randn(3, 4)).backward()
    parts = dict(first=model.detector[0], detector=model.detector[1])
    before = {name: _norm(part.parameters()) for name, part in parts.items()}
    wrapper._clip_grad()
    for name, part in parts.items():
        logged = wrapper.message_hub.get_scalar(f'train/grad_norm_{name}').current()
        assert float(logged) == pytest.approx(before[name], rel=1e-5)
        assert before[name] > 0.1
        assert _norm(part.parameters()) == pytest.approx(0.1, rel=1e-3)


def test_a_key_of_frozen_parameters_is_no_mistake():
    """A config says its learning rates whether the detector is frozen or not."""
    keys = {'frozen': dict(lr_mult=0.5), 'detector': dict(lr_mult=0.1)}
    model = Model()
    wrapper = build_optim_wrapper(model, _config(paramwise_cfg=dict(custom_keys=keys)))
    groups = wrapper.optimizer.param_groups
    held = {id(p) for group in groups for p in group['params']}
    assert held == {id(p) for p in model.parameters() if p.requires_grad}
    assert [group['lr'] for group in groups] == pytest.approx([1.0, 0.1])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(paramwise_cfg=dict(custom_keys={'neck': dict(lr_mult=2)})), "'neck'"),
        (dict(paramwise_cfg=dict(norm_decay_mult=0)), 'norm_decay_mult'),
        (dict(clip_groups=dict(head='head.')), "'head'"),
        (dict(clip_groups=dict(head=dict(prefix='head.'))), "'head'"),
        (dict(clip_groups=dict(head=dict(max_norm=1.0))), 'expected the prefix'),
        (
            dict(clip_groups=dict(head=dict(prefix='head.', norm=1.0))),
            'expected the prefix',
        ),
    ],
)
def test_settings_that_fit_nothing(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        build_optim_wrapper(Model(), _config() | change)


def test_warm_up_reaches_the_full_rate_with_its_last_iteration():
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=2.0)
    scheduler = IterWarmupLR(optimizer, end=5, by_epoch=False)
    rates = []
    for _ in range(7):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    expected = [2.0 * min(1, (i + 1) / 5) for i in range(7)]
    assert rates == pytest.approx(expected)


def test_warm_up_counts_epochs_in_iterations():
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    scheduler = IterWarmupLR.build_iter_from_epoch(
        optimizer, begin=0, end=2, by_epoch=True, epoch_length=10
    )
    assert optimizer.param_groups[0]['lr'] == pytest.approx(1 / 20)
    for _ in range(19):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]['lr'] == pytest.approx(1.0)


def test_a_warm_up_that_ends_before_it_begins_is_refused():
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    for begin, end in ((0, 0), (5, 3)):
        with pytest.raises(ValueError, match=f'begin={begin} and end={end}'):
            IterWarmupLR(optimizer, begin, end=end)
