# Copyright (c) mmfdta authors.
"""Two processes in which association reaches the detector late, or never."""

from pathlib import Path

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from small_fdta import build, collate, make_clip, small_config
from torch import distributed as dist
from two_processes import two_processes

PROJECTION = dict(num_layers=2, out_channels=16)
CASES = dict(
    warm_up=dict(embedding_sharing=dict(warmup_iters=2)),
    projection=dict(embedding_sharing=dict(id_gradient=0, projection=PROJECTION)),
    frozen=dict(freeze_detector=True, embedding_sharing=dict(projection=PROJECTION)),
)
STEPS = 4


def _process(rank: int, folder: str) -> None:
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2
    )
    seen = {}
    for name, changes in CASES.items():
        config = small_config()
        config.update(changes)
        # Every parameter without a gradient is an error.
        model = MMDistributedDataParallel(
            build(config).train(), broadcast_buffers=False, find_unused_parameters=False
        )
        wrapper = build_optim_wrapper(
            model,
            dict(
                type='GroupClipOptimWrapper',
                constructor='GroupedOptimWrapperConstructor',
                optimizer=dict(type='AdamW', lr=1e-3),
                clip_groups=dict(detector='detector.'),
                clip_grad=dict(max_norm=0.1),
            ),
        )
        weights = [{k: v.clone() for k, v in model.module.state_dict().items()}]
        for step in range(STEPS):
            for count in ('epoch', 'iter'):
                MessageHub.get_current_instance().update_info(count, step)
            torch.manual_seed(2 * step + rank)
            batch = collate(make_clip(num_frames=3, seed=2 * step + rank))
            model.train_step(batch, wrapper)
            weights.append({k: v.clone() for k, v in model.module.state_dict().items()})
        seen[name] = weights
    torch.save(seen, f'{folder}/{rank}.pth')
    dist.destroy_process_group()


@pytest.mark.dist
def test_processes_stay_equal(tmp_path: Path):
    with two_processes(_process, str(tmp_path)):
        pass
    ranks = [torch.load(tmp_path / f'{rank}.pth') for rank in range(2)]
    for name in CASES:
        for first, second in zip(*(rank[name] for rank in ranks), strict=True):
            torch.testing.assert_close(first, second, rtol=0, atol=0)
        start, *_, end = ranks[0][name]
        moved = {k for k in start if not start[k].equal(end[k])}
        assert any(k.startswith('id_decoder.') for k in moved), name
        of_detector = any(k.startswith('detector.') for k in moved)
        assert of_detector == (name != 'frozen'), name
        projecting = any(k.startswith('embedding_sharing.') for k in moved)
        assert projecting == (name != 'warm_up'), name
