# Copyright (c) mmfdta authors.
"""Bars on a terminal leave alone what is printed."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BARS = {
    'Progress': "Progress(2, unit='checks')",
    'ArchiveProgress': 'ArchiveProgress([1, 2])',
}


@pytest.mark.parametrize('name', BARS)
@pytest.mark.parametrize('into', ['file', 'terminal'])
def test_what_is_printed_beside_a_bar_reaches_standard_output(name, into):
    code = (
        f'from mmfdta.apis.progress import {name}\n'
        f"bar = {BARS[name]}\nprint('report')\nbar.close()"
    )
    terminal, end = pty.openpty()
    done = subprocess.run(
        [sys.executable, '-c', code],
        stdout=subprocess.PIPE if into == 'file' else end,
        stderr=end,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'TERM': 'xterm'},
        check=True,
    )
    os.close(end)
    shown = os.read(terminal, 2**16)
    os.close(terminal)
    if into == 'file':
        assert done.stdout == b'report\n'
    assert (b'report' in shown) == (into == 'terminal')
