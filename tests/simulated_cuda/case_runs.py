# Copyright (c) mmfdta authors.
"""Commands on the simulated device, beside the same on the CPU."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import mmengine.device.utils
import numpy as np
import torch
from mmengine.config import Config
from simulated_device import DEVICE, simulated_cuda
from small_fdta import build
from small_trackers import confident, config_of
from tiny_run import logged_losses, make_config, write_sequence

from mmfdta.apis.benchmark import BenchmarkOptions, read_entries, run_benchmark
from mmfdta.cli.main import main
from mmfdta.structures.mot_text import read_tracks

DEVICES = ('cuda', 'cpu')
TRACKER = dict(det_thr=0.3, newborn_thr=0.5)


@contextlib.contextmanager
def folder_with_data() -> Iterator[Path]:
    """A folder with the sequences of a tiny run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed, (split, frames) in enumerate((('train', 5), ('val', 4), ('val', 3))):
            write_sequence(folder / f'data/{split}/seq{seed}', frames, seed)
        yield folder


def run(device: str, *arguments: object) -> None:
    """Run a verb of ``mmfdta`` on a device, which MMEngine chose when it was imported.

    Raises:
        RuntimeError: If it does not end with 0.
    """
    before = mmengine.device.utils.DEVICE
    mmengine.device.utils.DEVICE = device
    try:
        with simulated_cuda() if device == 'cuda' else contextlib.nullcontext():
            code = main([*map(str, arguments), '--traceback'])
    finally:
        mmengine.device.utils.DEVICE = before
    if code:
        raise RuntimeError(f'mmfdta {arguments[0]} ended with {code}')


def training(precision: str = 'fp32', epochs: int = 2) -> dict:
    """Train with averaged weights and validation, and resume; in fp32 on both devices.

    Args:
        precision: As ``mmfdta train --precision`` takes it.
        epochs: Each is a run that goes on from the one before.
    """
    found: dict = {}
    with folder_with_data() as data:
        for device in DEVICES if precision == 'fp32' else DEVICES[:1]:
            folder = data / device
            folder.mkdir()
            (folder / 'data').symlink_to(data / 'data')
            found[device] = _train(device, folder, precision, epochs)
    losses, scores = (found['cuda'].pop(name) for name in ('losses', 'scores'))
    assert np.isfinite([values['loss'] for values in losses.values()]).all()
    if 'cpu' in found:
        assert losses.keys() == found['cpu']['losses'].keys()
        for number, values in found['cpu']['losses'].items():
            for key, value in values.items():
                np.testing.assert_allclose(losses[number][key], value, rtol=5e-3)
        np.testing.assert_allclose(scores, found['cpu']['scores'], atol=1e-3)
        assert found['cuda']['checkpoints'] == found['cpu']['checkpoints']
    return dict(found['cuda'], iterations=len(losses), validations=len(scores))


def _train(device: str, folder: Path, precision: str, epochs: int) -> dict:
    for epoch in range(1, epochs + 1):
        path = make_config(
            folder,
            train_cfg__max_epochs=epoch,
            default_hooks__checkpoint__save_best='mot/HOTA',
        )
        config = Config.fromfile(path)
        config.custom_hooks.append(dict(type='EMAHook', momentum=0.01))
        config.dump(path)
        resume = ['--resume'] if epoch > 1 else []
        with DEVICE.counting() as counts:
            run(device, 'train', path, '--precision', precision, *resume)
    scores = []
    for path in sorted(folder.rglob('scalars.json'), key=lambda p: p.stat().st_ctime):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        scores += [row['mot/HOTA'] for row in rows if 'mot/HOTA' in row]
    return dict(
        losses=logged_losses(folder / 'work'),
        scores=scores,
        checkpoints=sorted(path.name for path in (folder / 'work').glob('*.pth')),
        counts=counts.to_json(),
    )


def commands(precision: str = 'fp32') -> dict:
    """Test, track, tune and compare with one checkpoint; return the tracks they make.

    Args:
        precision: As the commands take it; other than fp32 is not compared.
    """
    with folder_with_data() as folder:
        tracker = dict(config_of('fdta').tracker, **TRACKER)
        path = make_config(folder, model__tracker=tracker)
        torch.manual_seed(0)
        weights = confident(build(Config.fromfile(path).model)).state_dict()
        checkpoint = folder / 'weights.pth'
        torch.save(dict(state_dict=weights), checkpoint)
        common = ['--precision', precision]
        found: dict[str, dict] = {}
        counts = {}
        for device in DEVICES if precision == 'fp32' else DEVICES[:1]:
            out = folder / device
            work = ['--work-dir', out / 'work']
            on = ['--device', device]
            verbs = dict(
                test=[path, checkpoint, '--out', out / 'test', *work, *common],
                track=[
                    *(folder / f'data/val/seq{i}/img1' for i in (1,)),
                    *('--config', path, '--checkpoint', checkpoint),
                    *('--out', out / 'track/seq1.txt', *on, *common),
                ],
                tune=[
                    *(path, '--checkpoint', checkpoint, '--out', out / 'tune', *on),
                    *('--data', 'val', '--newborn-thr', '0.5', '0.9'),
                ],
            )
            for verb, arguments in verbs.items():
                with DEVICE.counting() as counted:
                    run(device, verb, *arguments)
                counts.setdefault(verb, counted.to_json())
            with DEVICE.counting() as counted:
                _benchmark(device, f'{path}={checkpoint}', out / 'benchmark', precision)
            counts.setdefault('benchmark', counted.to_json())
            found[device] = {
                text.relative_to(out).as_posix(): _rows(text)
                for text in sorted(out.rglob('*.txt'))
            }
            trials = json.loads((out / 'tune/thresholds.json').read_text())
            found[device]['tune'] = [[trial['HOTA']] for trial in trials]
    if 'cpu' in found:
        assert found['cuda'].keys() == found['cpu'].keys()
        for name, rows in found['cpu'].items():
            np.testing.assert_allclose(
                found['cuda'][name], rows, atol=0.02, rtol=1e-3, err_msg=name
            )
    rows = {name: len(values) for name, values in found['cuda'].items()}
    return dict(rows=rows, counts=counts)


def _benchmark(device: str, entry: str, out: Path, precision: str) -> None:
    """Compare in this process; the command starts another one."""
    entries = read_entries([entry], cfg_options=dict(precision=precision)).entries
    options = BenchmarkOptions(
        data='val', out=out, device=device, warmup=1, resamples=10, own_process=False
    )
    with simulated_cuda() if device == 'cuda' else contextlib.nullcontext():
        assert not run_benchmark(entries, options).failed


def _rows(path: Path) -> list[list[float]]:
    """Frame, identity and box of every line of a result."""
    tracks = read_tracks(path)
    return np.column_stack([tracks.frame, tracks.identity, tracks.xywh]).tolist()
