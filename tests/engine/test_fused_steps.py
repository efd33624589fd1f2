# Copyright (c) mmfdta authors.
"""One kernel for all parameters takes the steps that PyTorch's loop takes."""

import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmfdta.engine import GroupClipOptimWrapper

STEPS = 6
# Of the optimiser: PyTorch's loop, its lists of tensors, one kernel.
LOOP, LISTS, FUSED = dict(foreach=False), dict(foreach=True), dict(fused=True)


class Net(nn.Module):
    """A convolution, whose weight can lie in memory in two orders, and a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.detector = nn.Conv2d(8, 6, 3)
        self.other = nn.Linear(6, 3)

    def forward(self, step: int) -> torch.Tensor:
        x = torch.randn(2, 8, 5, 5, generator=torch.Generator().manual_seed(step))
        return self.other(self.detector(x).mean((2, 3))).square().sum() * 50


def make(
    amp: bool = False, order: torch.memory_format = torch.contiguous_format, **way
) -> tuple[Net, GroupClipOptimWrapper]:
    torch.manual_seed(0)
    model = Net().to(memory_format=order)
    config = dict(
        type='GroupClipAmpOptimWrapper' if amp else 'GroupClipOptimWrapper',
        constructor='GroupedOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.1, **way),
        paramwise_cfg=dict(custom_keys={'detector': dict(lr_mult=0.5)}),
        clip_grad=dict(max_norm=0.1),
        clip_groups=dict(detector='detector.'),
    )
    return model, build_optim_wrapper(model, config)


def train(model: Net, wrapper: GroupClipOptimWrapper, steps: range) -> dict:
    for step in steps:
        wrapper.update_params(model(step))
    return {name: p.detach().contiguous() for name, p in model.named_parameters()}


def check(found: dict, expected: dict) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize('amp', [False, True])
@pytest.mark.parametrize('order', [torch.contiguous_format, torch.channels_last])
def test_the_steps_are_those_of_the_loop(scaling_on_cpu, amp: bool, order):
    expected = train(*make(**LOOP), range(STEPS))
    check(train(*make(amp, order, **FUSED), range(STEPS)), expected)


@pytest.mark.parametrize('amp', [False, True])
@pytest.mark.parametrize('last', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('first', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ('before', 'after'),
    [(LOOP, FUSED), (LISTS, FUSED), (FUSED, LOOP), (FUSED, LISTS), (FUSED, FUSED)],
    ids=['loop-fused', 'lists-fused', 'fused-loop', 'fused-lists', 'fused-fused'],
)
def test_a_run_goes_on_from_a_checkpoint_of_another_way(
    scaling_on_cpu, before: dict, after: dict, first, last, amp: bool
):
    """Under AMP as well, and when the weights lie in another order than before."""
    expected = train(*make(amp, **LOOP), range(STEPS))
    model, wrapper = make(amp, first, **before)
    train(model, wrapper, range(3))
    weights, state = copy.deepcopy((model.state_dict(), wrapper.state_dict()))
    model, wrapper = make(amp, last, **after)
    model.load_state_dict(weights)
    wrapper.load_state_dict(state)
    for group in wrapper.optimizer.param_groups:
        assert bool(group['fused']) == bool(after.get('fused'))
        assert {group['lr'], group['weight_decay']} <= {0.01, 0.005, 0.1}
    check(train(model, wrapper, range(3, STEPS)), expected)
    states = wrapper.optimizer.state.values()
    assert {int(state['step']) for state in states} == {STEPS}


def test_overflow_skips_a_fused_step(scaling_on_cpu):
    model, wrapper = make(amp=True, **FUSED)
    before = train(model, wrapper, range(2))
    scale = wrapper.loss_scaler.get_scale()
    wrapper.update_params(model(2) * torch.inf)
    check(train(model, wrapper, range(0)), before)
    assert wrapper.loss_scaler.get_scale() == scale / 2


def test_an_optimiser_without_a_fused_step_goes_on(monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(
        'mmfdta.engine.optim_wrapper.print_log', lambda text, *_: said.append(text)
    )
    config = dict(
        type='GroupClipOptimWrapper',
        constructor='GroupedOptimWrapperConstructor',
        optimizer=dict(type='Adadelta', lr=0.1, fused=True),
    )
    wrapper = build_optim_wrapper(Net(), config)
    assert type(wrapper.optimizer) is torch.optim.Adadelta
    (line,) = said
    assert line.startswith('optim_wrapper.optimizer.fused = True is ignored')
