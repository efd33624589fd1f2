# Copyright (c) mmfdta authors.
"""The commands of docs/getting_started.md, on a small MiniDance without training."""

import json

import numpy as np
from pages import ROOT, code_blocks, shell_words
from small_minidance import OPTIONS

from mmfdta.cli import main as command_line

PAGE = ROOT / 'docs' / 'getting_started.md'
# Installing, rendering and training are other tests'.
ELSEWHERE = ('make', 'source')


def run(arguments):
    """Run a command; help ends the process."""
    try:
        return command_line.main(arguments)
    except SystemExit as end:
        return end.code


def test_the_page_s_commands_run(workshop, capsys):
    ran = []
    for block in code_blocks(PAGE, 'shell'):
        for words in shell_words(block):
            if words[0] in ELSEWHERE or words[1] == 'minidance':
                continue
            assert words[0] == 'mmfdta'
            arguments = list(words[1:])
            if arguments[0] == 'test':
                added = OPTIONS if '--cfg-options' in arguments else None
                arguments += added or ['--cfg-options', *OPTIONS]
            assert not run(arguments), words
            ran.append(arguments[0])
    expected = ['env', '--help', 'check-data', 'test', 'evaluate', 'track']
    assert ran == [*expected, 'plot-tracks', 'test']
    first = workshop / 'work_dirs' / 'first'
    names = {'minidance0000', 'minidance0001'}
    assert {path.stem for path in (first / 'tracks').iterdir()} == names
    assert (first / 'dance.mp4').stat().st_size
    # The track command follows the same frames as the test.
    tested, tracked = (
        np.loadtxt(first / name, delimiter=',')
        for name in ('tracks/minidance0000.txt', 'dance.txt')
    )
    assert len(tested) and np.array_equal(tested, tracked)
    assert list(json.loads((first / 'timelines/switches.json').read_text())) == [
        'minidance0000'
    ]
    assert 'HOTA' in capsys.readouterr().out
