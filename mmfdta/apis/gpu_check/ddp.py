# Copyright (c) mmfdta authors.
"""What each process of the check of DDP does: a step on a clip of its own."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.model import MMDistributedDataParallel
from torch import distributed

from .bench import Bench, Settings
from .training import Training


def main(arguments: Sequence[str]) -> int:
    """Train a step; the first process writes ``made.json``.

    Args:
        arguments: Path of the request.

    Returns:
        Exit code, 0.
    """
    request = Path(arguments[0])
    rank, count = int(os.environ['LOCAL_RANK']), int(os.environ['WORLD_SIZE'])
    settings = json.loads(request.read_text('utf-8'))
    on_gpu = settings['device'].startswith('cuda')
    device = torch.device('cuda', rank) if on_gpu else torch.device('cpu')
    if on_gpu:
        torch.cuda.set_device(device)
    backend = 'nccl' if on_gpu else 'gloo'
    distributed.init_process_group(backend)
    bench = Bench(Settings.read(settings | dict(device=str(device))))
    training = Training(bench, 'FDTA', device, clips=count, shrink=False)
    training.keep_clip(rank)
    core = training.model
    training.model = MMDistributedDataParallel(
        core, device_ids=[rank] if on_gpu else None, broadcast_buffers=False
    )
    step = training.step()
    # Losses are means over what a process sees; all count the same.
    values = torch.tensor(list(step.values()), dtype=torch.float64, device=device)
    distributed.all_reduce(values)
    weights = torch.stack([p.detach().double().sum() for p in core.parameters()])
    all_weights = [torch.empty_like(weights) for _ in range(count)]
    distributed.all_gather(all_weights, weights)
    if rank == 0:
        made = dict(
            step=dict(zip(step, (values / count).tolist(), strict=True)),
            same_weights=all(torch.equal(all_weights[0], w) for w in all_weights),
            backend=backend,
        )
        text = json.dumps(made)
        Path(settings['out'], 'made.json').write_text(text, encoding='utf-8')
    distributed.barrier()
    distributed.destroy_process_group()
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
