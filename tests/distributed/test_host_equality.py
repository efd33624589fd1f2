# Copyright (c) mmfdta authors.
"""Gradients of two processes with depth on a host, against one with both clips."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from small_fdta import build, collate, make_clip, small_config
from small_hosts import DEPTH, host_config
from torch import Tensor, nn
from torch import distributed as dist
from two_processes import two_processes

# Objects of the two clips in each step. DINO makes as many denoising queries as the
# fullest frame of a batch has objects; only equal numbers make equal batches.
OBJECTS = {
    'detr': [(3, 5), (4, 0)],
    'dino': [(3, 3), (5, 5)],
    'depth alone': [(3, 5), (4, 2), (5, 3)],
}
# The clips of each step that have depth maps, where not all have.
WITH_MAPS = {'depth alone': [(0,), (1,), ()]}


def _model(name: str) -> nn.Module:
    config = small_config()
    depth = copy.deepcopy(DEPTH)
    if name == 'depth alone':  # no other loss reaches the adapter
        depth['spatial_adapter'].update(with_embedding=False, feature_gradient=1.0)
        name = 'detr'
    host = host_config(name, classes=1)
    if name == 'dino':  # noise is another in each process
        host['dn_cfg'].update(label_noise_scale=1e-12, box_noise_scale=1e-12)
    config.detector = dict(type='QueryDetector', host=host, **depth)
    model = build(config).train()
    for module in model.modules():
        if isinstance(getattr(module, 'dropout', None), float):
            module.dropout = 0.0
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.clip_detection.frame_order = lambda length: torch.tensor([2, 0, 3, 1])
    with torch.no_grad():  # away from layers that start at zero
        for weight in model.parameters():
            weight += 0.02 * torch.randn_like(weight)
    return model


def _gradients(
    model: nn.Module, name: str, clips: tuple[int, ...]
) -> list[dict[str, Tensor]]:
    """Gradients of every step, on the same weights, when the contrast has begun."""
    MessageHub.get_current_instance().update_info('epoch', 1)
    core = getattr(model, 'module', model)
    found = []
    for step, counts in enumerate(OBJECTS[name]):
        made = [make_clip(num_objects=counts[i], seed=2 * step + i) for i in clips]
        if name in WITH_MAPS:
            for i, clip in zip(clips, made, strict=True):
                if i not in WITH_MAPS[name][step]:
                    clip['inputs']['depth'] = None
        batch = collate(*made)
        data = core.data_preprocessor(batch, training=True)
        core.zero_grad()
        losses = model(**data, mode='loss')
        core.parse_losses(losses)[0].backward()
        found.append(
            {
                k: torch.zeros_like(p) if p.grad is None else p.grad.clone()
                for k, p in core.named_parameters()
                if p.requires_grad
            }
        )
    return found


def _process(rank: int, folder: str, name: str) -> None:
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2
    )
    model = MMDistributedDataParallel(
        _model(name),
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=False,
    )
    torch.save(_gradients(model, name, (rank,)), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


@pytest.mark.dist
@pytest.mark.parametrize('name', OBJECTS)
def test_two_processes_equal_a_batch_of_two(tmp_path: Path, name: str):
    """Every loss of a host is averaged over the boxes of both, and depth's too.

    Also if only one of the clips has depth maps, or none.
    """
    with two_processes(_process, str(tmp_path), name):
        expected = _gradients(_model(name), name, (0, 1))
    ranks = [torch.load(tmp_path / f'{rank}.pth') for rank in range(2)]
    torch.testing.assert_close(ranks[0], ranks[1], rtol=0, atol=0)
    for step, grads in enumerate(expected):
        for key, grad in grads.items():
            scale = max(float(grad.abs().max()), 1e-3)
            torch.testing.assert_close(
                ranks[0][step][key] / scale,
                grad / scale,
                rtol=0,
                atol=1e-3,
                msg=lambda text, key=key, step=step: f'step {step}, {key}: {text}',
            )
