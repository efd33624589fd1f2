# Copyright (c) mmfdta authors.
"""Two processes train FDTA on other detectors, with frames without objects."""

from pathlib import Path

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from small_fdta import build, collate, make_clip, small_config
from small_hosts import host_config
from torch import distributed as dist
from torch import nn
from two_processes import two_processes

# Objects in the clips of the two processes, in each step; with none in both, as
# MMDetection averages, two processes learn half as much as one.
OBJECTS = [(3, 5), (6, 0), (2, 2), (0, 0), (1, 2)]
EQUAL = 3
OPTIMISER = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1.0),
    clip_grad=dict(max_norm=0.1),
)


def _model(host: str) -> nn.Module:
    config = small_config()
    config.detector = dict(type='QueryDetector', host=host_config(host, classes=1))
    config.clip_detection.update(num_grad_frames=3, grad_chunk=2)
    model = build(config).train()
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


def _train(model: nn.Module, clips: tuple[int, ...]) -> list[dict[str, torch.Tensor]]:
    """Weights after each step, when the contrast has begun."""
    MessageHub.get_current_instance().update_info('epoch', 1)
    wrapper = build_optim_wrapper(model, OPTIMISER)
    core, weights = getattr(model, 'module', model), []
    for step, objects in enumerate(OBJECTS):
        batch = [
            make_clip(num_objects=objects[i], seed=2 * step + i, with_depth=False)
            for i in clips
        ]
        losses = model.train_step(collate(*batch), wrapper)
        assert torch.stack([*losses.values()]).isfinite().all()
        weights.append({k: v.detach().clone() for k, v in core.state_dict().items()})
    return weights


def _process(rank: int, folder: str, host: str) -> None:
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2
    )
    model = MMDistributedDataParallel(
        _model(host),
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=False,
    )
    torch.save(_train(model, (rank,)), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


@pytest.mark.dist
@pytest.mark.parametrize('host', ['deformable', 'dino', 'ddq'])
def test_two_processes_learn_the_same(tmp_path: Path, host: str):
    with two_processes(_process, str(tmp_path), host):
        if host == 'deformable':  # without noise: like one process with both clips
            expected = _train(_model(host), (0, 1))
    ranks = [torch.load(tmp_path / f'{rank}.pth') for rank in range(2)]
    torch.testing.assert_close(ranks[0], ranks[1], rtol=0, atol=0)
    if host == 'deformable':
        torch.testing.assert_close(
            ranks[0][:EQUAL], expected[:EQUAL], rtol=0, atol=1e-5
        )
