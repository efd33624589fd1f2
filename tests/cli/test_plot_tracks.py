# Copyright (c) mmfdta authors.
"""The command that draws timelines."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmfdta.cli.main import main
from mmfdta.structures import Tracks
from mmfdta.structures.mot_text import write_tracks


def _write(path, ids_by_frame):
    frames = [f for f, ids in enumerate(ids_by_frame, 1) for _ in ids]
    ids = [i for ids in ids_by_frame for i in ids]
    boxes = [
        [100.0 * place, 0, 50, 50] for ids in ids_by_frame for place in range(len(ids))
    ]
    write_tracks(path, Tracks.create(frames, ids, boxes))


def test_command_draws_and_lists_switches(tmp_path, capsys):
    _write(tmp_path / 'gt/a.txt', [[1, 2]] * 6)
    _write(tmp_path / 'out/a.txt', [[10, 20]] * 3 + [[20, 10]] * 2 + [[20, 30]])
    plots = tmp_path / 'plots'
    folders = [f'--gt={tmp_path}/gt', f'--results={tmp_path}/out']
    assert main(['plot-tracks', *folders, f'--out={plots}']) == 0
    assert (plots / 'a.png').stat().st_size > 5_000
    switches = json.loads((plots / 'switches.json').read_text())
    assert switches == {
        'a': [
            {'frame': 4, 'identity': 1, 'from': 10, 'to': 20},
            {'frame': 4, 'identity': 2, 'from': 20, 'to': 10},
            {'frame': 6, 'identity': 2, 'from': 10, 'to': 30},
        ]
    }
    assert '3 switches' in capsys.readouterr().out


def test_missing_folder_is_one_line(tmp_path, capsys):
    folders = [f'--gt={tmp_path}/nowhere', f'--results={tmp_path}']
    assert main(['plot-tracks', *folders, f'--out={tmp_path}']) == 1
    message = capsys.readouterr().err
    assert message.startswith('mmfdta plot-tracks: ') and 'nowhere' in message
    assert message.count('\n') == 1


def test_it_needs_no_pytorch(tmp_path):
    _write(tmp_path / 'gt/a.txt', [[1]] * 3)
    _write(tmp_path / 'out/a.txt', [[1]] * 3)
    arguments = ['plot-tracks', f'--gt={tmp_path}/gt', f'--results={tmp_path}/out']
    code = (
        'import sys; from mmfdta.cli.main import main; '
        f'assert main({[*arguments, f"--out={tmp_path}/plots"]!r}) == 0; '
        'loaded = {"torch", "mmengine", "mmcv", "mmdet"} & set(sys.modules); '
        'assert not loaded, loaded'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
    assert (tmp_path / 'plots' / 'a.png').is_file()


@pytest.mark.parametrize(('part', 'frame'), [('41-71', 45), ('1-71/2', 9)])
def test_frames_are_counted_within_a_part_as_the_page_says(tmp_path, part, frame):
    _write(tmp_path / 'gt/a.txt', [[1, 2]] * 71)
    _write(tmp_path / 'out/a.txt', [[1, 2]] * (frame - 1) + [[2, 1]] * (72 - frame))
    folders = [f'--gt={tmp_path}/gt', f'--results={tmp_path}/out', f'--out={tmp_path}']
    assert main(['plot-tracks', *folders, f'--frames={part}']) == 0
    switches = json.loads((tmp_path / 'switches.json').read_text())
    assert [switch['frame'] for switch in switches['a']] == [5, 5]
    page = Path(__file__).parents[2] / 'docs/analysis.md'
    assert f'`--frames {part}` is frame {frame}' in page.read_text()


def test_several_trackers_and_a_half(tmp_path, capsys):
    for name in 'ab':
        _write(tmp_path / f'gt/{name}.txt', [[1, 2]] * 20)
        _write(tmp_path / f'out/good/{name}.txt', [[1, 2]] * 20)
        _write(tmp_path / f'out/poor/{name}.txt', [[1, 2]] * 15 + [[2, 1]] * 5)
    plots = tmp_path / 'plots'
    folders = [f'--gt={tmp_path}/gt', f'--results={tmp_path}/out']
    assert main(['plot-tracks', *folders, f'--out={plots}', '--half=second']) == 0
    assert 'results are read from' in capsys.readouterr().err
    for tracker, count in (('good', 0), ('poor', 2)):
        switches = json.loads((plots / tracker / 'switches.json').read_text())
        # Frames count from the first of the second half, which is frame 12.
        assert [s['frame'] for s in switches['b']] == [5] * count
        assert (plots / tracker / 'a.png').is_file()
