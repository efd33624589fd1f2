# Copyright (c) mmfdta authors.
"""Every benchmark starts: what it imports is there."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / 'benchmarks').glob('*_*.py'))


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.stem)
def test_benchmark_shows_its_help(script):
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', script, '--help'],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert 'usage' in done.stdout
