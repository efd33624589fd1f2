# Copyright (c) mmfdta authors.
"""Accumulated gradients, with and without mixed precision."""

import functools

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from small_fdta import build, collate, make_clip, small_config
from torch import Tensor, nn

LOSS_SCALE = 256.0


def _wrapper(model: nn.Module, kind: str = 'GroupClipOptimWrapper', **kwargs):
    return build_optim_wrapper(
        model,
        dict(
            type=kind,
            constructor='GroupedOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=1e-3),
            clip_grad=dict(max_norm=0.1),
            clip_groups=dict(detector='detector.'),
            **kwargs,
        ),
    )


def _watch(wrapper, model: nn.Module) -> list[dict[str, Tensor]]:
    """Gradients as they come to clipping."""
    seen = []
    clip = wrapper._clip_grad

    def watch() -> None:
        seen.append(
            {
                k: p.grad.clone()
                for k, p in model.named_parameters()
                if p.grad is not None
            }
        )
        clip()

    wrapper._clip_grad = watch
    return seen


def _model() -> nn.Module:
    MessageHub.get_current_instance().update_info('epoch', 1)
    model = build(small_config()).train()
    for module in model.modules():
        if isinstance(getattr(module, 'dropout', None), float):
            module.dropout = 0.0
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.clip_detection.frame_order = lambda length: torch.tensor([2, 0, 3, 1])
    return model


def test_two_accumulated_clips_equal_a_batch_of_two():
    clips = [make_clip(seed=seed) for seed in range(2)]
    # As many detections to name in both, so that the normalisers agree.
    clips[1]['data_samples'].id_targets = clips[0]['data_samples'].id_targets
    models = [_model(), _model()]
    single = _wrapper(models[0], accumulative_counts=2)
    whole = _wrapper(models[1])
    seen = [_watch(w, m) for w, m in zip((single, whole), models, strict=True)]
    for clip in clips:
        models[0].train_step(collate(clip), single)
    models[1].train_step(collate(*clips), whole)
    assert [len(s) for s in seen] == [1, 1]
    torch.testing.assert_close(seen[0][0], seen[1][0], rtol=1e-4, atol=1e-5)
    weights = [dict(model.named_parameters()) for model in models]
    torch.testing.assert_close(*weights, rtol=0, atol=1e-5)


class Parts(nn.Module):
    """A detector with large and another part with small gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.detector = nn.Linear(4, 4)
        self.other = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return 10 * self.detector(x).sum() + 1e-3 * self.other(x).sum()


def test_mixed_precision_clips_the_unscaled_sum(scaling_on_cpu):
    model = Parts()
    wrapper = _wrapper(
        model,
        'GroupClipAmpOptimWrapper',
        accumulative_counts=2,
        loss_scale=dict(init_scale=LOSS_SCALE),
    )
    seen = _watch(wrapper, model)
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    batches = [torch.randn(3, 4), torch.randn(3, 4)]
    for x in batches:
        wrapper.update_params(model(x))
        if len(seen) == 0:  # scaled while it is accumulated
            grad = model.detector.bias.grad
            torch.testing.assert_close(grad, torch.full((4,), 15 * LOSS_SCALE))
    total = sum(batches).sum(0)
    expected = {
        'detector.weight': (5 * total).expand(4, 4),
        'detector.bias': torch.full((4,), 30.0),
        'other.weight': (5e-4 * total).expand(4, 4),
        'other.bias': torch.full((4,), 3e-3),
    }
    assert len(seen) == 1
    torch.testing.assert_close(seen[0], expected, rtol=1e-5, atol=1e-7)
    norms = {
        part: torch.cat([expected[f'{part}.{n}'].flatten() for n in ('weight', 'bias')])
        for part in ('detector', 'other')
    }
    for part, value in norms.items():
        logged = wrapper.message_hub.get_scalar(f'train/grad_norm_{part}').current()
        assert logged == pytest.approx(float(value.norm()), rel=1e-4)
    # The first step of Adam without decay is the sign of the gradient.
    for name, param in model.named_parameters():
        moved = (param - before[name]).sign()
        assert torch.equal(moved, -expected[name].sign()), name
    assert wrapper.loss_scaler.get_scale() == LOSS_SCALE


def test_a_step_with_infinite_gradients_is_left_out(scaling_on_cpu):
    model = Parts()
    wrapper = _wrapper(
        model, 'GroupClipAmpOptimWrapper', loss_scale=dict(init_scale=LOSS_SCALE)
    )
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    wrapper.update_params(model(torch.full((3, 4), torch.inf)))
    torch.testing.assert_close(dict(model.named_parameters()), before, rtol=0, atol=0)
    assert wrapper.loss_scaler.get_scale() < LOSS_SCALE


def test_bfloat16_training_lowers_the_loss(scaling_on_cpu, monkeypatch):
    model = _model()
    wrapper = _wrapper(
        model, 'GroupClipAmpOptimWrapper', loss_scale=1.0, dtype='bfloat16'
    )
    autocast = functools.partial(torch.autocast, 'cpu', torch.bfloat16)
    monkeypatch.setattr(
        'mmengine.runner.amp.autocast', lambda dtype: autocast(enabled=bool(dtype))
    )
    dtypes = set()
    model.id_decoder.layers[0].ffn.linear1.register_forward_hook(
        lambda module, args, out: dtypes.add(out.dtype)
    )
    batch = collate(make_clip())
    totals = [model.train_step(batch, wrapper)['loss'].item() for _ in range(6)]
    assert dtypes == {torch.bfloat16}
    assert totals[-1] < 0.95 * totals[0]
    assert all(p.dtype == torch.float32 for p in model.parameters())
