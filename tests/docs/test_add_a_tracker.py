# Copyright (c) mmfdta authors.
"""The commands of docs/add_a_tracker.md, as they stand there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import mmdet.models.trackers  # noqa: F401  (registers MMDetection's)
import pytest
from mmdet.registry import MODELS
from small_minidance import OPTIONS

import mmfdta.registry  # noqa: F401
from mmfdta.cli import main as command_line

PAGE = Path(__file__).parents[2] / 'docs' / 'add_a_tracker.md'


def commands() -> list[list[str]]:
    """The lines of the page's shell blocks."""
    blocks = re.findall(r'^```shell\n(.*?)^```', PAGE.read_text(), re.M | re.S)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def test_the_page_s_commands_run(workshop):
    ran = []
    for program, *arguments in commands():
        if program == 'python':
            _, module, *arguments = arguments
            # Without the settings of this project.
            arguments = [*arguments, '-p', 'no:cacheprovider', '-W', 'ignore']
            found = subprocess.run(
                [sys.executable, '-m', 'pytest', *arguments],
                capture_output=True,
                text=True,
            )
            assert '2 passed' in found.stdout, found.stdout + found.stderr
            ran.append(module)
            continue
        if arguments[0] in ('test', 'benchmark'):
            arguments = [*arguments, '--cfg-options', *OPTIONS]
        assert program == 'mmfdta'
        assert not command_line.main(arguments)
        ran.append(arguments[0])
    assert ran == ['new-tracker', 'pytest', 'test', 'benchmark']
    tracks = workshop / 'work_dirs' / 'glue_tracker_mini' / 'tracks'
    benchmarked = workshop / 'work_dirs/benchmark_test/runs/glue_tracker_mini/tracks'
    for path in tracks.iterdir():
        assert path.read_text() == (benchmarked / path.name).read_text()
    table = (workshop / 'work_dirs/benchmark_test/benchmark.md').read_text()
    assert re.search(
        r'^\| glue_tracker_mini +\|.*^\| bytetrack_fdta-det_mini +\|',
        table,
        re.M | re.S,
    )


def test_the_template_is_short(workshop):
    assert command_line.main(['new-tracker', 'GlueTracker']) == 0
    package = workshop / 'glue_tracker'
    lines = [line for path in package.glob('*.py') for line in _code_lines(path)]
    assert len(lines) < 140


def _code_lines(path: Path) -> list[str]:
    """Lines that are neither empty nor of a docstring or comment."""
    text = re.sub(r'"""(.|\n)*?"""', '', path.read_text())
    return [x for x in text.splitlines() if x.strip() and not x.strip().startswith('#')]


@pytest.mark.parametrize('name', ['glue', '1Glue', 'Glue-Tracker'])
def test_names_that_cannot_be_are_refused(workshop, capsys, name: str):
    assert command_line.main(['new-tracker', name]) == 1
    assert 'expected a name for a class' in capsys.readouterr().err


def test_names_that_are_registered_are_refused(workshop, capsys):
    folders = tuple(
        f'{package}.models.{folder}.'
        for package in ('mmdet', 'mmfdta')
        for folder in ('mot', 'trackers')
    )
    names = [
        n for n, c in MODELS.module_dict.items() if c.__module__.startswith(folders)
    ]
    assert len(names) > 20 and {'DeepSORT', 'ByteTracker', 'FDTA'} < {*names}
    for name in names:
        assert command_line.main(['new-tracker', name]) == 1
        said = capsys.readouterr().err
        assert f'there is a tracker {name} already; choose' in said, name
    assert not list(workshop.glob('*/tracker.py'))


def test_a_package_is_not_overwritten(workshop, capsys):
    assert command_line.main(['new-tracker', 'GlueTracker']) == 0
    (workshop / 'glue_tracker/tracker.py').write_text('mine')
    assert command_line.main(['new-tracker', 'GlueTracker']) == 1
    assert 'is there already' in capsys.readouterr().err
    assert (workshop / 'glue_tracker/tracker.py').read_text() == 'mine'


def test_what_is_written_is_formatted(workshop):
    root = PAGE.parents[1]
    assert command_line.main(['new-tracker', 'GlueTracker', '--into', 'deep/er']) == 0
    settings = ['--config', str(root / 'pyproject.toml'), '--no-cache', 'deep']
    for check in (['check', '--ignore', 'ANN201,D,C408'], ['format', '--check']):
        found = subprocess.run(
            [sys.executable, '-m', 'ruff', *check, *settings],
            capture_output=True,
            text=True,
        )
        assert found.returncode == 0, found.stdout + found.stderr
