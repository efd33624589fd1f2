# Copyright (c) mmfdta authors.
"""The contrastive MLP rests in its warm-up as in the released code.

There it gets no gradient at all in epoch 0, and PyTorch's optimisers leave alone what
has none: no step is counted, nothing decays. The references below are plain AdamW on
such parameters.
"""

import copy

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from small_fdta import build, collate, make_clip, small_config
from torch import Tensor, nn
from toy_parts import Toy

DECAY = 5e-4
ADAPTER = 'identity_adapter.'
WARM_UP, STEPS = 30, 20


def _wrapper(model: nn.Module, kind: str = 'GroupClipOptimWrapper', **kwargs):
    config = dict(
        type=kind,
        constructor='GroupedOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=1e-2, weight_decay=DECAY),
        clip_groups=dict(detector='detector.', identity_adapter=ADAPTER),
        **kwargs,
    )
    return build_optim_wrapper(model, config)


def _state(wrapper, model: nn.Module) -> dict[str, dict]:
    """The optimiser's state by the names of the parameters."""
    states = wrapper.optimizer.state
    return {k: states[p] for k, p in model.named_parameters() if p in states}


def _reference() -> list[dict[str, Tensor]]:
    """Weights after every step of the released recipe, without clipping."""
    model = Toy()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=DECAY)
    weights = []
    for step in range(WARM_UP + STEPS):
        optimizer.zero_grad()
        model(step, contrast=step >= WARM_UP, zeros=False).backward()
        optimizer.step()
        weights.append({k: p.detach().clone() for k, p in model.named_parameters()})
    return weights


@pytest.mark.parametrize('accumulated', [1, 2])
@pytest.mark.parametrize('kind', ['GroupClipOptimWrapper', 'GroupClipAmpOptimWrapper'])
def test_steps_are_those_of_an_optimiser_without_the_gradients(
    scaling_on_cpu, kind: str, accumulated: int
):
    expected = _reference()
    model = Toy()
    wrapper = _wrapper(model, kind, accumulative_counts=accumulated)
    start = copy.deepcopy(model.identity_adapter.state_dict())
    for step in range(WARM_UP + STEPS):
        for _ in range(accumulated):
            wrapper.update_params(model(step, contrast=step >= WARM_UP, zeros=True))
        states = _state(wrapper, model)
        steps = {k: int(s['step']) for k, s in states.items() if k.startswith(ADAPTER)}
        if step < WARM_UP:
            assert not steps
            now = model.identity_adapter.state_dict()
            torch.testing.assert_close(now, start, rtol=0, atol=0)
        else:
            assert set(steps.values()) == {step - WARM_UP + 1} and len(steps) == 6
        found = {k: p.detach() for k, p in model.named_parameters()}
        torch.testing.assert_close(found, expected[step], rtol=1e-4, atol=1e-6)
        assert int(states['other.bias']['step']) == step + 1


def test_one_accumulated_iteration_with_a_loss_is_enough():
    model = Toy()
    wrapper = _wrapper(model, accumulative_counts=3)
    for contrast in (False, True, False):
        wrapper.update_params(model(0, contrast, zeros=True))
    assert sum(k.startswith(ADAPTER) for k in _state(wrapper, model)) == 6


def test_norms_are_logged_while_a_part_rests():
    model = Toy()
    wrapper = _wrapper(model, clip_grad=dict(max_norm=0.1))
    wrapper.update_params(model(0, contrast=False, zeros=True))
    norms = {
        part: float(wrapper.message_hub.get_scalar(f'train/grad_norm_{part}').current())
        for part in ('detector', 'identity_adapter', 'other')
    }
    assert norms['identity_adapter'] == 0
    assert norms['detector'] > 0 and norms['other'] > 0


@pytest.mark.parametrize('split', [WARM_UP // 2, WARM_UP + STEPS // 2])
def test_a_resumed_run_goes_on_with_the_same_state(split: int):
    """In the warm-up, and after it."""
    expected = _reference()
    model = Toy()
    wrapper = _wrapper(model)
    for step in range(WARM_UP + STEPS):
        if step == split:
            weights, state = copy.deepcopy((model.state_dict(), wrapper.state_dict()))
            model = Toy()
            model.load_state_dict(weights)
            wrapper = _wrapper(model)
            wrapper.load_state_dict(state)
        wrapper.update_params(model(step, contrast=step >= WARM_UP, zeros=True))
    found = {k: p.detach() for k, p in model.named_parameters()}
    torch.testing.assert_close(found, expected[-1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('kind', ['GroupClipOptimWrapper', 'GroupClipAmpOptimWrapper'])
@pytest.mark.parametrize('learnt', [False, True], ids=['warm-up', 'later'])
def test_a_state_of_0_1_loses_the_steps_of_the_warm_up(
    scaling_on_cpu, kind: str, learnt: bool
):
    """0.1 stepped with zero gradients: steps were counted, the moments stayed zero."""
    model = Toy()
    wrapper = _wrapper(model, kind)
    optimizer = wrapper.optimizer
    for step in range(4):
        optimizer.zero_grad()
        model(step, contrast=learnt and step == 3, zeros=True).backward()
        optimizer.step()
    old = copy.deepcopy(wrapper.state_dict())
    assert len(old['state']) == 10
    model = Toy()
    wrapper = _wrapper(model, kind)
    wrapper.load_state_dict(old)
    states = _state(wrapper, model)
    assert int(states['detector.weight']['step']) == 4
    kept = [k for k in states if k.startswith(ADAPTER)]
    assert len(kept) == (6 if learnt else 0)
    wrapper.update_params(model(4, contrast=True, zeros=True))
    steps = {int(s['step']) for k, s in _state(wrapper, model).items() if k in kept}
    assert steps == ({5} if learnt else set())


def test_a_part_of_no_such_module_is_stepped_with_zeros():
    """Only what says so may rest: the others decay, as in the released code."""
    model = Toy()
    wrapper = _wrapper(model)
    before = model.other.weight.detach().clone()
    wrapper.update_params(0.0 * sum(p.sum() for p in model.parameters()))
    decayed = before * (1 - 1e-2 * DECAY)
    torch.testing.assert_close(model.other.weight.detach(), decayed, rtol=0, atol=0)
    assert not any(k.startswith(ADAPTER) for k in _state(wrapper, model))


def test_mmengines_constructor_leaves_them_out_too():
    model = Toy()
    config = dict(type='GroupClipOptimWrapper', optimizer=dict(type='AdamW', lr=1e-2))
    wrapper = build_optim_wrapper(model, config)
    wrapper.initialize_count_status(model, 0, 1)
    wrapper.update_params(model(0, contrast=False, zeros=True))
    assert _state(wrapper, model).keys() == {
        *('detector.weight', 'detector.bias', 'other.weight', 'other.bias')
    }


@pytest.fixture
def clip() -> dict:
    return collate(make_clip())


def _train(model: nn.Module, wrapper, epoch: int, batch: dict) -> None:
    MessageHub.get_current_instance().update_info('epoch', epoch)
    model.train_step(batch, wrapper)


def test_the_model_begins_its_contrast_with_a_fresh_state(clip: dict):
    model = build(small_config()).train()
    wrapper = _wrapper(model)
    adapter = dict(model.identity_adapter.named_parameters())
    start = {k: p.detach().clone() for k, p in adapter.items()}
    for _ in range(3):
        _train(model, wrapper, 0, clip)
    states = _state(wrapper, model)
    assert not any(k.startswith(ADAPTER) for k in states)
    trained = {k for k, p in model.named_parameters() if p.requires_grad}
    assert states.keys() == {k for k in trained if not k.startswith(ADAPTER)}
    torch.testing.assert_close({k: p.detach() for k, p in adapter.items()}, start)
    seen = {}
    clip_grad = wrapper.optimizer.register_step_pre_hook(
        lambda *_: seen.update({k: p.grad.clone() for k, p in adapter.items()})
    )
    _train(model, wrapper, 1, clip)
    clip_grad.remove()
    states = _state(wrapper, model)
    for name, grad in seen.items():
        state = states[ADAPTER + name]
        assert int(state['step']) == 1
        torch.testing.assert_close(state['exp_avg'], 0.1 * grad)
        torch.testing.assert_close(state['exp_avg_sq'], 1e-3 * grad**2)


@pytest.mark.parametrize('quality', [0.5, 1.01], ids=['pairs', 'no good match'])
def test_a_clip_without_a_match_leaves_the_projection_alone(clip, quality: float):
    """As there, where less than two good matches give no gradient."""
    config = small_config()
    config.identity_adapter.loss.quality_thr = quality if quality > 1 else 0.0
    model = build(config).train()
    wrapper = _wrapper(model)
    _train(model, wrapper, 1, clip)
    touched = any(k.startswith(ADAPTER) for k in _state(wrapper, model))
    assert touched == (quality < 1)
