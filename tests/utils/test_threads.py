# Copyright (c) mmfdta authors.
"""OpenMP itself says how long its waiting threads spin."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmfdta.utils.threads import SHORT

ROOT = Path(__file__).parents[2]
SETTINGS = ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME')


def spin_count(arguments: list[str], **settings: str) -> tuple[str, str]:
    """What libgomp reads when PyTorch is loaded, and what a command prints."""
    environment = {k: v for k, v in os.environ.items() if k not in SETTINGS}
    environment |= dict(OMP_DISPLAY_ENV='verbose', PYTHONPATH=str(ROOT)) | settings
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (found,) = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    return found, done.stdout


@pytest.mark.skipif(
    'OpenMP' not in torch.__config__.parallel_info() or sys.platform != 'linux',
    reason='another OpenMP',
)
@pytest.mark.parametrize(
    ('settings', 'count', 'said'),
    [
        ({}, SHORT, f'GOMP_SPINCOUNT={SHORT}'),
        (dict(OMP_WAIT_POLICY='passive'), '0', 'OMP_WAIT_POLICY=passive'),
        (dict(GOMP_SPINCOUNT='7'), '7', 'GOMP_SPINCOUNT=7'),
    ],
)
def test_commands_spin_a_short_while_unless_the_user_says_else(settings, count, said):
    found, output = spin_count(['-m', 'mmfdta', 'env'], **settings)
    assert found == count
    assert said in output


def test_who_only_imports_the_package_is_left_alone():
    code = 'import mmfdta, torch'
    found, _ = spin_count(['-c', code], GOMP_SPINCOUNT='12345')
    assert found == '12345'
    found, _ = spin_count(['-c', code])
    assert found != SHORT
