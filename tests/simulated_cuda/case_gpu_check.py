# Copyright (c) mmfdta authors.
"""Checks of a GPU on the simulated device."""

from simulated_device import simulated_cuda

from mmfdta.apis.gpu_check.bench import Bench, Settings
from mmfdta.apis.gpu_check.checks import run_checks
from mmfdta.apis.gpu_check.processes import load_checks

QUICK = {
    'modules': (
        *('backbone, folded', 'encoder', 'decoder', 'Spatial Adapter', 'ID decoder'),
        *('detection losses', 'depth loss', 'contrastive loss', 'ID loss'),
        'deformable sampling, bfloat16, odd sizes',
    ),
    'tracking': ('FDTA, one frame', 'SORT, a video'),
    'training': ('FDTA, a step',),
    'precision': ('FDTA, a video, fp16',),
}


def quick_checks(out: str) -> dict[str, str]:
    """Run some checks of most sections; the verdict of each."""
    verdicts = {}
    with simulated_cuda():
        bench = Bench(Settings('cuda:0', out, quick=True, sizes=((96, 64),)))
        for section, names in QUICK.items():
            chosen = [one for one in load_checks()[section] if one.name in names]
            run_checks(
                chosen,
                bench,
                lambda row: verdicts.update({row.name: f'{row.judged} {row.found}'}),
            )
    return verdicts
