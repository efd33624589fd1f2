# Copyright (c) mmfdta authors.
"""An archive that is killed: what is whole stays, the rest is tracked again."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from small_fdta import build
from tiny_run import command, write_sequence

pytestmark = pytest.mark.faults

VIDEOS = 5
FRAMES = 25
DEADLINE = 600


def entries(folder: Path) -> list[dict]:
    """The videos in a ledger that may be written at the moment."""
    path = folder / 'archive.jsonl'
    lines = path.read_bytes().split(b'\n')[:-1] if path.exists() else []
    return [line for line in map(json.loads, lines) if 'source' in line]


def test_a_killed_archive_becomes_what_it_would_have_been(
    tiny_run, environment, tmp_path
):
    seed = random.SystemRandom().randrange(10**6)
    print(f'kills are drawn with seed {seed}')
    rng = random.Random(seed)
    config, weights = tiny_run(), tmp_path / 'weights.pth'
    model = build(Config.fromfile(config).model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), weights)
    for number in range(VIDEOS):
        write_sequence(tmp_path / f'videos/v{number}', FRAMES, number)
    track = command('track', *sorted((tmp_path / 'videos').iterdir()))
    track += ['--config', str(config), '--checkpoint', str(weights), '--formats']
    track += ['txt', 'jsonl', '--out-dir']
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    subprocess.run(
        [*track, str(whole)], env=environment, check=True, capture_output=True
    )
    for wanted in (1, 3):
        process = subprocess.Popen(
            [*track, str(killed)],
            env=environment,
            stdout=-3,
            stderr=-3,
            start_new_session=True,
        )
        end = time.monotonic() + DEADLINE
        while len(entries(killed)) < wanted and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.3))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = len(entries(killed))
    done = subprocess.run(
        [*track, str(killed)], env=environment, check=True, capture_output=True
    )
    assert done.stdout.decode().count(': tracked ') == VIDEOS - before
    found = entries(killed)
    assert len(found) == VIDEOS == len({entry['source'] for entry in found})
    assert all(entry['state'] == 'whole' for entry in found)
    names = sorted(path.name for path in whole.iterdir())
    assert sorted(path.name for path in killed.iterdir()) == names
    assert len(names) == 2 * VIDEOS + 1
    for name in names[1:]:
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
        assert (whole / name).stat().st_size
