# Copyright (c) mmfdta authors.
"""The commands themselves: a small run from data to tracks, and several processes."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import torch

from mmfdta.checkpoints import read_state_dict
from mmfdta.structures.whole_files import write_text

from ..config import find_config
from .bench import Bench, folder
from .checks import Found, NotRunError, check, judge
from .training import Training, compare_steps

_PATIENCE = 600.0
_DATA = dict(train=2, val=1, test=1, frames=20, width=96, height=64)
_CONFIG = """\
_base_ = [{base!r}]

data = {data!r}
options = {options!r}
train_dataloader = dict(batch_size=2, dataset=dict(data_root=data, options=options))
val_dataloader = dict(dataset=dict(data_root=data, options=options))
test_dataloader = dict(dataset=dict(data_root=data, options=options))
train_cfg = dict(max_iters=4, val_interval=4)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=2),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=2, end=8, T_max=6),
]
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(interval=2, max_keep_ckpts=-1)
)
custom_hooks = [dict(type='IterationSeedHook'), dict(type='EMAHook', momentum=0.1)]
model = dict(tracker=dict(det_thr=0.0, newborn_thr=0.0))
"""


class SmallRun:
    """Folders and commands of a run.

    Args:
        bench: The workbench.
    """

    def __init__(self, bench: Bench) -> None:
        self.folder = folder(bench, 'run').resolve()
        self.work = self.folder / 'work'
        for old in (self.work, self.folder / 'tracks.txt'):
            shutil.rmtree(old, ignore_errors=True)
            old.unlink(missing_ok=True)
        self.config = self.folder / 'small.py'
        text = _CONFIG.format(
            base=str(find_config('fdta_mini').resolve()),
            data=str(self.folder / 'minidance'),
            options=_DATA,
        )
        write_text(self.config, text)
        self._environment = visible(bench.device)

    def command(self, *arguments: object) -> str:
        """Run a command; return what it printed.

        Raises:
            RuntimeError: If it fails, with the last line that it said.
        """
        return run_command(
            [sys.executable, '-m', 'mmfdta', *map(str, arguments)],
            self._environment,
            self.folder,
        )

    def checkpoint(self, iteration: int) -> Path:
        """A checkpoint of the run.

        Raises:
            NotRunError: If it is not there.
        """
        path = self.work / f'iter_{iteration}.pth'
        if not path.exists():
            raise NotRunError(f'the run wrote no {path.name}')
        return path


def visible(device: torch.device) -> dict[str, str]:
    """Environment of processes that see one device, or on a CPU none."""
    shown = os.environ.get('CUDA_VISIBLE_DEVICES')
    number = ''
    if device.type == 'cuda':
        cards = shown.split(',') if shown else None
        number = cards[device.index or 0] if cards else str(device.index or 0)
    return {**os.environ, 'CUDA_VISIBLE_DEVICES': number}


def run_command(
    command: list[str], environment: dict[str, str], cwd: Path, patience: float = 0.0
) -> str:
    """Run a command; return what it printed, errors among it.

    Args:
        command: And its arguments.
        environment: Of the process.
        cwd: Where.
        patience: Seconds; 0 takes ten minutes.

    Raises:
        RuntimeError: If it fails, with the last line that it said.
    """
    done = subprocess.run(
        command,
        env=environment,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=patience or _PATIENCE,
    )
    print(done.stdout)
    if done.returncode:
        lines = done.stdout.split('\n')
        last = next((line.strip() for line in reversed(lines) if line.strip()), '')
        raise RuntimeError(f'exit code {done.returncode}: {last}')
    return done.stdout


def _run(bench: Bench) -> SmallRun:
    return bench.remember('run', lambda: SmallRun(bench))


@check('run', 'training', 'mmfdta train, with validation and averaged weights', 'ends')
def _train(bench: Bench) -> Found:
    run = _run(bench)
    options = [f'--{name}={value}' for name, value in _DATA.items()]
    run.command('minidance', run.folder / 'minidance', *options)
    text = run.command('train', run.config, '--work-dir', run.work)
    scores = re.findall(r'mot/HOTA: ([\d.]+)', text)
    passed = run.checkpoint(4).exists() and bool(scores)
    return judge(passed, f'4 iterations, HOTA {scores[-1] if scores else "missing"}')


@check('run', 'checkpoint', 'devices of the tensors in it', 'all on the CPU')
def _checkpoint(bench: Bench) -> Found:
    places: set[str] = set()

    def note(storage: Any, place: str) -> Any:
        places.add(place)
        return storage

    path = _run(bench).checkpoint(4)
    torch.load(path, map_location=note, weights_only=True)
    return judge(places == {'cpu'}, ', '.join(sorted(places)))


@check('run', 'resuming', 'mmfdta train --resume, up to iteration 6', 'ends')
def _resume(bench: Bench) -> Found:
    run = _run(bench)
    before = run.checkpoint(4)
    run.command(
        *('train', run.config, '--work-dir', run.work, '--resume'),
        *('--cfg-options', 'train_cfg.max_iters=6'),
    )
    paths = before, run.checkpoint(6)
    old, new = (read_state_dict(path) for path in paths)
    finite = all(t.isfinite().all() for t in new.values() if t.is_floating_point())
    moved = any(not torch.equal(new[name], value) for name, value in old.items())
    found = f'weights {"finite" if finite else "not finite"}'
    return judge(finite and moved, f'{found}, {"other" if moved else "the same"}')


@check('run', 'test', 'mmfdta test, float32', 'ends with scores')
def _test(bench: Bench) -> Found:
    run = _run(bench)
    text = run.command('test', run.config, run.checkpoint(4), '--work-dir', run.work)
    scores = re.findall(r'mot/HOTA: ([\d.]+)', text)
    return judge(bool(scores), f'HOTA {scores[-1] if scores else "missing"}')


@check('run', 'video', 'mmfdta track of a folder of images', 'ends with tracks')
def _track(bench: Bench) -> Found:
    run = _run(bench)
    checkpoint = run.checkpoint(4)
    images = folder(bench, 'run/images').resolve()
    for index, frame in enumerate(bench.video(6, (192, 128))):
        cv2.imwrite(str(images / f'{index:04d}.png'), frame)
    out = run.folder / 'tracks.txt'
    run.command(
        *('track', images, '--config', run.config, '--checkpoint', checkpoint),
        *('--out', out),
    )
    rows = out.read_text('utf-8').splitlines()
    frames = {row.split(',')[0] for row in rows}
    return judge(len(frames) == 6, f'{len(rows)} boxes in {len(frames)} frames')


# ------------------------------------------------------------------- several processes
DDP_LOSSES, DDP_NORMS = 1e-3, 1e-2


@check(
    'ddp',
    'FDTA, a step',
    'processes with a clip each against one process with all clips',
    f'losses {DDP_LOSSES:g}, norms {DDP_NORMS:g}; the same weights in all',
)
def _ddp(bench: Bench) -> Found:
    on_gpu = bench.device.type == 'cuda'
    count = torch.cuda.device_count() if on_gpu else 2
    out = folder(bench, 'ddp').resolve()
    request = out / 'request.json'
    settings = bench.settings.as_dict() | dict(out=str(out))
    write_text(request, json.dumps(settings))
    launcher = ('--standalone', '--nnodes=1', f'--nproc-per-node={count}')
    run_command(
        [
            *(sys.executable, '-m', 'mmfdta.cli.launch', *launcher),
            *('-m', f'{__package__}.ddp', str(request)),
        ],
        {**os.environ, 'OMP_NUM_THREADS': '1'},
        out,
    )
    made = json.loads((out / 'made.json').read_text('utf-8'))
    training = Training(bench, 'FDTA', bench.device, clips=count, shrink=False)
    judged = compare_steps(made['step'], training.step(), DDP_LOSSES, DDP_NORMS)
    same = made['same_weights']
    text = f'{count} process{"es" if count > 1 else ""} by {made["backend"]}'
    return judge(
        judged.verdict == 'pass' and same,
        f'{text}, {judged.text}, weights {"the same" if same else "differ"}',
        processes=count,
        **judged.numbers,
    )
