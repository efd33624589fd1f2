# Copyright (c) mmfdta authors.
"""Two processes with a clip each train MOTR like one process with both clips."""

from pathlib import Path

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from small_fdta import build, collate, make_clip
from small_motr import small_motr_config
from torch import Tensor, nn
from torch import distributed as dist
from two_processes import two_processes

# Objects in the two clips of each step: the numbers of tracks differ between the
# processes, and one has none at all.
OBJECTS = [(3, 5), (4, 0)]
# Largest difference of a gradient, of its largest element.
TOLERANCE = 1e-4


def _model() -> nn.Module:
    config = small_motr_config()
    # Draws follow the process; without them both ways see the same tracks.
    config.query_sampling = dict(drop_prob=0.0, insert_prob=0.0, min_iou=-1.0)
    model = build(config).train()
    with torch.no_grad():  # away from layers that start at zero
        for p in model.parameters():
            p += 0.02 * torch.randn_like(p)
    return model


def _gradients(model: nn.Module, clips: tuple[int, ...]) -> list[dict[str, Tensor]]:
    """Gradients of every step; the weights stay as they are."""
    core = getattr(model, 'module', model)
    seen = []
    for step, objects in enumerate(OBJECTS):
        batch = collate(
            *(
                make_clip(num_objects=objects[i], seed=2 * step + i, with_depth=False)
                for i in clips
            )
        )
        batch = core.data_preprocessor(batch, training=True)
        model.zero_grad()
        sum(model(**batch, mode='loss').values()).backward()
        seen.append(
            {k: p.grad.clone() for k, p in core.named_parameters() if p.requires_grad}
        )
    return seen


def _process(rank: int, folder: str) -> None:
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2
    )
    model = MMDistributedDataParallel(
        _model(), device_ids=None, broadcast_buffers=False, find_unused_parameters=False
    )
    torch.save(_gradients(model, (rank,)), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_equal_a_batch_of_two(tmp_path: Path):
    with two_processes(_process, str(tmp_path)):
        expected = _gradients(_model(), (0, 1))
    ranks = [torch.load(tmp_path / f'{rank}.pth') for rank in range(2)]
    torch.testing.assert_close(ranks[0], ranks[1], rtol=0, atol=0)
    assert all(g.any() for g in expected[0].values())
    for step, gradients in enumerate(expected):
        for name, grad in gradients.items():
            scale = max(float(grad.abs().max()), 1e-3)
            torch.testing.assert_close(
                ranks[0][step][name] / scale,
                grad / scale,
                rtol=0,
                atol=TOLERANCE,
                msg=lambda text, name=name: f'{name}: {text}',
            )
