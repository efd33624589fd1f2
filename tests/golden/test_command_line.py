# Copyright (c) mmfdta authors.
"""A released checkpoint through the two commands a user runs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from case_end_to_end import write_sequence
from golden_files import DATA, load_golden
from PIL import Image
from weights import formula_state_dict

ROOT = Path(__file__).parents[2]


def _run(script: str, *arguments: object) -> None:
    command = [sys.executable, ROOT / 'tools' / script, *arguments]
    done = subprocess.run(map(str, command), capture_output=True, text=True)
    assert not done.returncode, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.slow
def test_convert_and_test(tmp_path: Path):
    golden = load_golden('end_to_end')
    images = sorted((DATA / 'end_to_end/img1').glob('*.png'))
    write_sequence(np.stack([np.asarray(Image.open(p)) for p in images]), tmp_path)
    released, converted = tmp_path / 'released.pth', tmp_path / 'converted.pth'
    state = formula_state_dict(golden.settings['cfg'], golden.seed)
    torch.save({'model': state}, released)
    _run('convert_checkpoint.py', released, converted)
    _run(
        'test.py',
        ROOT / 'configs/fdta_dancetrack.py',
        converted,
        '--out',
        tmp_path / 'tracks',
        '--work-dir',
        tmp_path / 'work',
        '--cfg-options',
        f'test_dataloader.dataset.data_root={tmp_path}',
        'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False',
        f'test_dataloader.dataset.pipeline.0.transforms.1.short={golden.settings["max_shorter"]}',
        f'test_dataloader.dataset.pipeline.0.transforms.1.max_long={golden.settings["max_longer"]}',
    )
    expected = np.loadtxt(DATA / 'end_to_end/object-max.txt', delimiter=',')
    found = np.loadtxt(tmp_path / 'tracks/seq.txt', delimiter=',')
    np.testing.assert_array_equal(found[:, :2], expected[:, :2])
    np.testing.assert_allclose(found[:, 2:6], expected[:, 2:6], atol=0.01, rtol=0)
