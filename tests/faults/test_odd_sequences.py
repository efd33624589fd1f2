# Copyright (c) mmfdta authors.
"""Training and testing where sequences have one frame, nobody, or a thousand."""

import json
import math
import subprocess
from pathlib import Path

import pytest
from mmengine.config import Config
from tiny_run import OBJECTS, command, logged_losses, write_sequence

from mmfdta.structures.mot_text import read_tracks

pytestmark = pytest.mark.faults

CROWD = 1000


def nobody(folder: Path) -> None:
    (folder / 'gt/gt.txt').write_text('')


def crowd(folder: Path) -> None:
    """A thousand boxes in the second frame."""
    rows = (folder / 'gt/gt.txt').read_text()
    more = (f'2,{i},{i % 80},{i % 50},9,9,1,1,1\n' for i in range(OBJECTS + 1, CROWD))
    (folder / 'gt/gt.txt').write_text(rows + ''.join(more))


def test_train_and_test(tiny_run, environment, tmp_path: Path):
    config = tiny_run(train_cfg__max_epochs=1, train_cfg__val_begin=1)
    lengths = {'one': 1, 'nobody': 4, 'crowd': 4}
    for split in ('train', 'val'):
        for seed, (name, length) in enumerate(lengths.items()):
            write_sequence(tmp_path / f'data/{split}/{name}', length, seed)
        nobody(tmp_path / f'data/{split}/nobody')
        crowd(tmp_path / f'data/{split}/crowd')
    done = subprocess.run(
        command('train', config), env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    work = Path(Config.fromfile(config).work_dir)
    losses = logged_losses(work)
    assert losses
    for row in losses.values():
        assert all(math.isfinite(value) for value in row.values())

    tracks, scores = tmp_path / 'tracks', tmp_path / 'scores.json'
    test = command('test', config, work / 'epoch_1.pth', '--out', tracks)
    done = subprocess.run(test, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    truth = tmp_path / 'data/val'
    evaluate = command('evaluate', '--gt', truth, '--results', tracks, '--out', scores)
    subprocess.run(evaluate, env=environment, check=True, capture_output=True)
    found = json.loads(scores.read_text())['classes']['all']['sequences']
    for name, length in lengths.items():
        rows = read_tracks(tracks / f'{name}.txt', unique=True)
        assert len(rows) and rows.frame.max() <= length
        # The official evaluation counts no frames where there is nobody.
        assert found[name]['CLR_Frames'] == (0 if name == 'nobody' else length)
    assert found['nobody']['CLR_FN'] == 0 and found['nobody']['CLR_FP'] > 0
    # Of a thousand, no more are found than there are words.
    assert found['crowd']['CLR_FN'] > CROWD - 100
    # No score of any sequence is NaN.
    assert 'NaN' not in scores.read_text()
