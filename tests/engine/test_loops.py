# Copyright (c) mmfdta authors.
"""Runs that are killed within an epoch and resumed."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tiny_run import command, logged_losses

KILL_AFTER = 4


def test_a_killed_run_goes_on_as_if_never_interrupted(tiny_run, environment):
    """Two epochs of seven clips; SIGKILL in the second epoch, then resume.

    Dropout and the choice of frames are on, two persistent workers load.
    """
    settings = dict(
        train_cfg__max_epochs=2,
        train_cfg__val_begin=9,
        train_dataloader__num_workers=2,
        train_dataloader__persistent_workers=True,
        custom_hooks__1__interval=2,
        randomness__seed=None,
    )
    config = tiny_run(**settings)
    work = Path(Config.fromfile(config).work_dir)
    killed = subprocess.Popen(
        command('train', config), env=environment, stdout=-3, stderr=-3
    )
    try:
        deadline = time.monotonic() + 240
        per_epoch = 7
        while len(logged_losses(work)) < per_epoch + KILL_AFTER:
            assert killed.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
    before = logged_losses(work)
    assert len(before) < 2 * per_epoch, 'finished before it could be killed'
    last = Path((work / 'last_checkpoint').read_text())
    meta = torch.load(last, weights_only=False)['meta']
    assert per_epoch < meta['iter'] < 2 * per_epoch

    subprocess.run(
        command('train', config, '--resume'),
        env=environment,
        check=True,
        capture_output=True,
    )
    found = logged_losses(work)
    whole = work.with_name('whole')
    seed = f'randomness.seed={meta["seed"]}'
    subprocess.run(
        command('train', config, '--work-dir', str(whole), '--cfg-options', seed),
        env=environment,
        check=True,
        capture_output=True,
    )
    expected = logged_losses(whole)
    assert sorted(found) == sorted(expected) == list(range(1, 2 * per_epoch + 1))
    for iteration, row in expected.items():
        assert found[iteration] == pytest.approx(row, rel=1e-4, abs=1e-6), iteration
    weights = [
        torch.load(folder / 'epoch_2.pth', weights_only=False)['state_dict']
        for folder in (work, whole)
    ]
    torch.testing.assert_close(*weights, rtol=1e-5, atol=1e-6)
