# Copyright (c) mmfdta authors.
"""The command that draws timelines."""

import json

import numpy as np
import pytest

from mmfdta.apis.analysis import plot_tracks
from mmfdta.structures.mot_text import write_mot_rows


def _write(path, ids_by_frame):
    frames = [f for f, ids in enumerate(ids_by_frame, 1) for _ in ids]
    ids = [i for ids in ids_by_frame for i in ids]
    boxes = [
        [100.0 * place, 0, 50, 50] for ids in ids_by_frame for place in range(len(ids))
    ]
    write_mot_rows(path, np.array(frames), np.array(ids), np.array(boxes))


def test_command_draws_and_lists_switches(tmp_path, capsys):
    _write(tmp_path / 'gt/a.txt', [[1, 2]] * 6)
    _write(tmp_path / 'out/a.txt', [[10, 20]] * 3 + [[20, 10]] * 2 + [[20, 30]])
    plots = tmp_path / 'plots'
    plot_tracks.main(
        [f'--gt={tmp_path}/gt', f'--results={tmp_path}/out', f'--out={plots}']
    )
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


def test_missing_folder_is_one_line(tmp_path):
    with pytest.raises(SystemExit, match='mmfdta plot-tracks: .*nowhere'):
        plot_tracks.main(
            [f'--gt={tmp_path}/nowhere', f'--results={tmp_path}', f'--out={tmp_path}']
        )
