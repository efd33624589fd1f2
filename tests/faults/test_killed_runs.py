# Copyright (c) mmfdta authors.
"""Training and testing that is killed: what is left is whole, the rest is made up."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from small_fdta import build
from tiny_run import command, logged_losses, write_sequence

from mmfdta.structures.mot_text import read_tracks

pytestmark = pytest.mark.faults

KILLS = 3
PER_PASS = 7
DEADLINE = 900


def count_epochs(make: Callable[..., Path]) -> Path:
    """Three epochs of seven clips, a checkpoint every two iterations."""
    return make(
        train_cfg__max_epochs=3,
        train_cfg__val_begin=9,
        train_dataloader__num_workers=1,
        train_dataloader__persistent_workers=True,
        custom_hooks__1__interval=2,
    )


def count_iterations(make: Callable[..., Path]) -> Path:
    """The same number of iterations, three passes over the data."""
    path = make(train_dataloader__num_workers=1, log_processor__by_epoch=False)
    config = Config.fromfile(path)
    config.train_cfg = dict(
        type='ResumableIterTrainLoop', max_iters=3 * PER_PASS, val_interval=99
    )
    config.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    config.param_scheduler = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=12)
    ]
    config.custom_hooks = config.custom_hooks[:1]
    config.default_hooks.checkpoint = dict(
        type='WholeCheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=1
    )
    config.dump(path)
    return path


def run_until(
    arguments: list[str], environment: dict, condition: Callable[[], bool], pause: float
) -> int:
    """Start, wait for the condition and a moment more, then SIGKILL the group."""
    process = subprocess.Popen(
        arguments, env=environment, stdout=-3, stderr=-3, start_new_session=True
    )
    try:
        end = time.monotonic() + DEADLINE
        while not condition() and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.005)
        time.sleep(pause)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    return code


@pytest.mark.parametrize('make', [count_epochs, count_iterations])
def test_three_kills_leave_no_trace_in_training(tiny_run, environment, make):
    seed = random.SystemRandom().randrange(10**6)
    print(f'kills are drawn with seed {seed}')
    draw = random.Random(seed)
    config = make(tiny_run)
    work = Path(Config.fromfile(config).work_dir)
    resume = command('train', config, '--resume')
    for number in range(KILLS):
        goal = 1 + number * 6 + draw.randrange(6)
        code = run_until(
            resume,
            environment,
            lambda goal=goal: max(logged_losses(work), default=0) >= goal,
            draw.random() * 0.4,
        )
        assert code == -signal.SIGKILL, 'finished before it could be killed'
    subprocess.run(resume, env=environment, check=True, capture_output=True)
    whole = work.with_name('whole')
    subprocess.run(
        command('train', config, '--work-dir', whole),
        env=environment,
        check=True,
        capture_output=True,
    )
    found, expected = logged_losses(work), logged_losses(whole)
    assert sorted(found) == sorted(expected) == list(range(1, 3 * PER_PASS + 1))
    for iteration, row in expected.items():
        assert found[iteration] == pytest.approx(row, rel=1e-4, abs=1e-6), iteration
    last = [sorted(folder.glob('*.pth'))[-1] for folder in (work, whole)]
    assert last[0].name == last[1].name
    weights = [torch.load(path, weights_only=False)['state_dict'] for path in last]
    torch.testing.assert_close(*weights, rtol=1e-5, atol=1e-6)
    assert not list(work.glob('.*.part'))


def test_a_killed_test_is_told_from_a_whole_one(tiny_run, environment, tmp_path: Path):
    config = tiny_run()
    for number in range(5, 8):
        write_sequence(tmp_path / f'data/val/seq{number}', 30, number)
    out, partial = tmp_path / 'tracks', tmp_path / 'tracks.partial'
    test = command('test', config, '--allow-random-weights', '--out', out)

    def finished() -> list[Path]:
        return sorted(partial.glob('*.txt'))

    for count in (1, 4):
        code = run_until(
            test, environment, lambda count=count: len(finished()) >= count, 0
        )
        assert code == -signal.SIGKILL, 'finished before it could be killed'
        assert not out.exists()
    kept = {path.name: path.read_bytes() for path in finished()}
    assert 4 <= len(kept) < 6
    truth = tmp_path / 'data/val'
    evaluate = command('evaluate', '--gt', truth, '--results', partial)
    refused = subprocess.run(evaluate, env=environment, capture_output=True, text=True)
    assert refused.returncode and 'have no result' in refused.stdout + refused.stderr

    subprocess.run(test, env=environment, check=True, capture_output=True)
    results = {path.name: path.read_bytes() for path in out.iterdir()}
    assert sorted(results) == [f'seq{n}.txt' for n in range(2, 8)]
    assert all(results.values()) and kept.items() <= results.items()
    assert not partial.exists()
    again = tmp_path / 'again'
    subprocess.run(
        command('test', config, '--allow-random-weights', '--out', again),
        env=environment,
        check=True,
        capture_output=True,
    )
    assert {path.name: path.read_bytes() for path in again.iterdir()} == results


def test_a_killed_track_is_never_taken_for_a_whole_one(
    tiny_run, environment, tmp_path: Path
):
    config = tiny_run()
    write_sequence(tmp_path / 'video', 120, 9)
    out = [tmp_path / f'out/v.{suffix}' for suffix in ('txt', 'json', 'avi')]
    out[0].parent.mkdir()
    for path in out:
        path.write_text('earlier')
    weights = tmp_path / 'weights.pth'
    torch.save(
        dict(state_dict=build(Config.fromfile(config).model).state_dict()), weights
    )
    track = command('track', tmp_path / 'video/img1', '--config', config)
    track += ['--checkpoint', str(weights), '--no-progress', '--out', *map(str, out)]

    def begun() -> bool:
        return any(path.stat().st_size for path in out[0].parent.glob('.v.*.txt'))

    code = run_until(track, environment, begun, 0)
    assert code == -signal.SIGKILL, 'finished before it could be killed'
    assert [path.read_text() for path in out] == ['earlier'] * 3
    shown = [p.name for p in out[0].parent.iterdir() if not p.name.startswith('.')]
    assert sorted(shown) == sorted(path.name for path in out)

    subprocess.run(track, env=environment, check=True, capture_output=True)
    document = json.loads(out[1].read_text())
    assert document['complete'] and document['num_frames'] == 120
    assert read_tracks(out[0]).frame.max() == 120
    again = [tmp_path / f'again/v.{suffix}' for suffix in ('txt', 'json')]
    track[-3:] = map(str, again)
    subprocess.run(track, env=environment, check=True, capture_output=True)
    assert again[0].read_bytes() == out[0].read_bytes()
    assert json.loads(again[1].read_text()) == document
