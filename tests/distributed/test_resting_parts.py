# Copyright (c) mmfdta authors.
"""The contrastive MLP rests in two processes as in one with their mean loss."""

from pathlib import Path

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from torch import distributed as dist
from toy_parts import Toy
from two_processes import two_processes

ADAPTER = 'identity_adapter.'
# Which of the two processes has a contrastive loss in each step.
CONTRAST = [
    *[(False, False)] * 3,
    *[(True, False), (True, True), (False, True), (False, False), (True, True)],
]
# Steps that the optimiser's state counts for the MLP after each.
COUNTED = [0, 0, 0, 1, 2, 3, 3, 4]
SETTINGS = dict(lr=1e-2, weight_decay=5e-4)


def _process(rank: int, folder: str) -> None:
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2
    )
    model = MMDistributedDataParallel(
        Toy(), device_ids=None, broadcast_buffers=False, find_unused_parameters=False
    )
    config = dict(
        type='GroupClipOptimWrapper',
        constructor='GroupedOptimWrapperConstructor',
        optimizer=dict(type='AdamW', **SETTINGS),
        clip_grad=dict(max_norm=1e3),
        clip_groups=dict(identity_adapter=ADAPTER),
    )
    wrapper = build_optim_wrapper(model, config)
    seen = []
    for step, contrast in enumerate(CONTRAST):
        with wrapper.optim_context(model):
            loss = model(2 * step + rank, contrast[rank], zeros=True)
        wrapper.update_params(loss)
        states = wrapper.optimizer.state
        named = dict(model.module.named_parameters())
        counted = {
            int(states[p]['step']) if p in states else 0
            for name, p in named.items()
            if name.startswith(ADAPTER)
        }
        seen.append((counted, {k: p.detach().clone() for k, p in named.items()}))
    torch.save(seen, f'{folder}/{rank}.pth')
    dist.destroy_process_group()


@pytest.mark.dist
def test_one_process_with_a_loss_is_enough(tmp_path: Path):
    with two_processes(_process, str(tmp_path)):
        model = Toy()
        optimizer = torch.optim.AdamW(model.parameters(), **SETTINGS)
        expected = []
        for step, contrast in enumerate(CONTRAST):
            optimizer.zero_grad()
            losses = [model(2 * step + i, contrast[i], zeros=False) for i in range(2)]
            (sum(losses) / 2).backward()
            optimizer.step()
            expected.append(
                {k: p.detach().clone() for k, p in model.named_parameters()}
            )
    ranks = [torch.load(tmp_path / f'{rank}.pth') for rank in range(2)]
    for step, weights in enumerate(expected):
        for counted, found in (rank[step] for rank in ranks):
            assert counted == {COUNTED[step]}, step
            torch.testing.assert_close(found, weights, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(ranks[0][step][1], ranks[1][step][1], rtol=0, atol=0)
