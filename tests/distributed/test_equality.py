# Copyright (c) mmfdta authors.
"""Two processes of one clip each train like one process with both clips."""

from pathlib import Path

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from small_fdta import build, collate, make_clip, small_config
from torch import Tensor, nn
from torch import distributed as dist
from two_processes import two_processes

STEPS = 3
# Largest difference of a gradient, of its largest element; each step adds the
# difference of the weights it starts from.
TOLERANCE = [2e-5, 5e-4, 2e-3]
# Objects in the two clips of each step: the normalisers of the losses differ, and
# one clip is empty, as a crop may leave it.
OBJECTS = [(3, 5), (6, 2), (4, 0)]
OPTIMISER = dict(
    type='GroupClipOptimWrapper',
    constructor='GroupedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}),
    clip_grad=dict(max_norm=0.1),
    clip_groups=dict(detector='detector.', identity_adapter='identity_adapter.'),
)


def _model() -> nn.Module:
    model = build(small_config()).train()
    for module in model.modules():
        if isinstance(getattr(module, 'dropout', None), float):
            module.dropout = 0.0
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.clip_detection.frame_order = lambda length: torch.tensor([2, 0, 3, 1])
    with torch.no_grad():  # away from layers that start at zero
        for p in model.parameters():
            p += 0.02 * torch.randn_like(p)
    return model


def _batch(step: int, clips: tuple[int, ...]) -> dict:
    return collate(
        *(make_clip(num_objects=OBJECTS[step][i], seed=2 * step + i) for i in clips)
    )


def _train(model: nn.Module, clips: tuple[int, ...]) -> list[dict[str, Tensor | None]]:
    """Gradients of every step, as they are clipped, then the weights."""
    core = getattr(model, 'module', model)
    wrapper = build_optim_wrapper(model, OPTIMISER)
    seen = []
    clip_grad = wrapper._clip_grad

    def watch() -> None:
        parameters = core.named_parameters()
        grads = {k: p.grad for k, p in parameters if p.requires_grad}
        seen.append({k: None if g is None else g.clone() for k, g in grads.items()})
        clip_grad()

    wrapper._clip_grad = watch
    for step in range(STEPS):
        model.train_step(_batch(step, clips), wrapper)
    weights = {k: v.detach().clone() for k, v in core.state_dict().items()}
    return [*seen, weights]


def _process(rank: int, folder: str, epoch: int) -> None:
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2
    )
    MessageHub.get_current_instance().update_info('epoch', epoch)
    model = MMDistributedDataParallel(
        _model(), device_ids=None, broadcast_buffers=False, find_unused_parameters=False
    )
    torch.save(_train(model, (rank,)), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


@pytest.mark.dist
@pytest.mark.parametrize('epoch', [0, 1], ids=['contrast rests', 'all losses'])
def test_two_processes_equal_a_batch_of_two(tmp_path: Path, epoch: int):
    with two_processes(_process, str(tmp_path), epoch):
        MessageHub.get_current_instance().update_info('epoch', epoch)
        expected = _train(_model(), (0, 1))
    ranks = [torch.load(tmp_path / f'{rank}.pth') for rank in range(2)]
    torch.testing.assert_close(ranks[0], ranks[1], rtol=0, atol=0)
    learns = {k for k, grad in expected[0].items() if grad is not None}
    resting = expected[0].keys() - learns
    adapter = {k for k in expected[0] if k.startswith('identity_adapter.')}
    assert resting == (adapter if epoch == 0 else set())
    assert all(expected[0][name].any() for name in learns)
    for step in range(STEPS):
        for name, grad in expected[step].items():
            if name in resting:
                assert grad is None and ranks[0][step][name] is None
                continue
            scale = max(float(grad.abs().max()), 1e-3)
            torch.testing.assert_close(
                ranks[0][step][name] / scale,
                grad / scale,
                rtol=0,
                atol=TOLERANCE[step],
                msg=lambda text, name=name: f'{name}: {text}',
            )
    torch.testing.assert_close(ranks[0][-1], expected[-1], rtol=0, atol=1e-5)
