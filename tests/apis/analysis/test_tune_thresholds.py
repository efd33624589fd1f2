# Copyright (c) mmfdta authors.
"""Tuning: replayed detections track as the model does, and each is found once."""

import json

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate

from mmfdta.apis.analysis.tune_thresholds import (
    Trial,
    Tuner,
    build_tracker,
    format_trials,
    search_coordinates,
    search_grid,
)
from mmfdta.apis.detection_store import DetectionStore
from mmfdta.apis.evaluation_data import EvaluationData
from mmfdta.apis.sequence_loop import SequenceLoop
from mmfdta.cli.main import main
from mmfdta.datasets import ClipIndex


@pytest.fixture(scope='module')
def tuner(mini):
    store = DetectionStore(mini.folder / 'c', mini.model, mini.dataset)
    loop = SequenceLoop(mini.model, mini.dataset, store, 0.0, batch_size=3)
    data = EvaluationData(mini.dataset, 'minidance')
    return Tuner(loop, loop.detect_all(), data, mini.config.model.tracker.to_dict())


@pytest.mark.parametrize('protocol', ['object-max', 'hungarian'])
def test_replay_equals_the_model(mini, tuner, protocol):
    tracker = mini.model.tracker
    before = tracker.protocol
    tracker.protocol = protocol
    try:
        for index, sequence in enumerate(mini.dataset.sequences):
            found = tuner.track(index, dict(protocol=protocol))
            assert len(found) > 8
            for frame in range(len(sequence)):
                sample = mini.dataset[ClipIndex(index, (frame,))]
                with torch.no_grad():
                    (clip,) = mini.model.test_step(pseudo_collate([sample]))
                expected = clip[0].pred_track_instances
                rows = found.frame == frame + 1
                assert (
                    found.identity[rows].tolist() == expected.instances_id.tolist()
                ), frame
                boxes = expected.bboxes.double().numpy().copy()
                boxes[:, 2:] -= boxes[:, :2]
                np.testing.assert_allclose(found.xywh[rows], boxes, atol=1e-3)
    finally:
        tracker.protocol = before


def test_a_trial_is_made_and_reported_once(mini, tuner):
    reported = []
    again = Tuner(
        tuner._loop, tuner._detections, tuner._data, tuner._tracker_cfg, reported.append
    )
    one = again.try_setting(dict(id_thr=0.3))
    assert again.try_setting(dict(id_thr=0.3)) is one
    assert reported == again.trials == [one]


def test_a_tracker_is_built_for_a_setting(mini):
    present = mini.model.tracker
    tracker_cfg = mini.config.model.tracker
    tracker = build_tracker(present, tracker_cfg, dict(id_thr=0.7))
    assert tracker is not present and tracker.id_thr == 0.7
    assert tracker.num_id_vocabulary == present.num_id_vocabulary
    assert tracker.embed_dims == present.embed_dims
    with pytest.raises(ValueError, match="takes no 'id_threshold'; it takes .*id_thr"):
        build_tracker(present, tracker_cfg, dict(id_threshold=0.7))


class _Quadratic:
    """A tuner whose best setting is known."""

    def __init__(self):
        self.known = {}

    @property
    def trials(self):
        return list(self.known.values())

    def try_setting(self, setting):
        distance = (setting['det_thr'] - 0.4) ** 2 + (setting['id_thr'] - 0.1) ** 2
        scores = dict.fromkeys(('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1'), 1 - distance)
        return self.known.setdefault(str(setting), Trial(setting, scores, 0.0))


_CHOICES = dict(
    det_thr=[0.2, 0.3, 0.4, 0.5],
    newborn_thr=[0.6],
    id_thr=[0.1, 0.2],
    protocol=['object-max', 'hungarian'],
)


def test_both_searches_find_the_best():
    best = []
    for search in ('grid', 'coordinate'):
        tuner = _Quadratic()
        if search == 'grid':
            top = search_grid(tuner, _CHOICES)
            assert len(tuner.trials) == 16
        else:
            values = (0.2, 0.6, 0.2, 'object-max')
            start = dict(zip(_CHOICES, values, strict=True))
            top = search_coordinates(tuner, _CHOICES, start)
            assert len(tuner.trials) < 16
        best.append((top.setting['det_thr'], top.setting['id_thr']))
    assert best == [(0.4, 0.1)] * 2


def test_table_has_the_best_first():
    tuner = _Quadratic()
    search_grid(tuner, _CHOICES)
    head, _, first, *_ = format_trials(tuner.trials).splitlines()
    cells = [cell.strip() for cell in first.split('|')[1:-1]]
    assert cells[:5] == ['0.4', '0.6', '0.1', 'object-max', '100.00']
    names = [cell.strip() for cell in head.split('|')[1:-1]]
    assert names[:5] == ['det_thr', 'newborn_thr', 'id_thr', 'protocol', 'HOTA']


def test_command_tries_keeps_and_names_the_best(mini, tmp_path, capsys, monkeypatch):
    arguments = [
        *('tune', str(mini.path), f'--checkpoint={mini.checkpoint}'),
        *(f'--out={tmp_path}', '--device=cpu', '--benchmark=minidance'),
        *('--det-thr', '0.0', '0.9', '--protocol', 'object-max', 'id-max'),
    ]
    assert main(arguments) == 0
    trials = json.loads((tmp_path / 'thresholds.json').read_text())
    assert len(trials) == 4
    # Nothing scores above 0.9: no tracks, no association.
    assert {t['HOTA'] for t in trials if t['det_thr'] == 0.9} == {0.0}
    assert '--cfg-options model.tracker.det_thr=' in capsys.readouterr().out

    def refuse(*args):
        raise AssertionError('the detector must not run again')

    monkeypatch.setattr(SequenceLoop, '_find', refuse)
    assert main([*arguments, '--try', 'miss_tolerance', '4', '8']) == 0
    trials = json.loads((tmp_path / 'thresholds.json').read_text())
    assert {t['miss_tolerance'] for t in trials} == {4, 8} and len(trials) == 8


def test_command_tunes_another_tracker_on_the_detector(mini, tmp_path, capsys):
    data = {
        f'val_dataloader.dataset.{name}': value
        for name, value in (
            ('data_root', mini.folder / 'data'),
            *((f'options.{k}', v) for k, v in mini.dataset_options.items()),
        )
    }
    arguments = [
        *('tune', 'bytetrack_fdta-det_mini', f'--checkpoint={mini.checkpoint}'),
        *('--device=cpu', f'--out={tmp_path}'),
        *('--try', 'obj_score_thrs', "{'high': 0.0, 'low': 0.0}"),
        *('--try', 'init_track_thr', '0.0', '0.9'),
    ]
    options = ['--cfg-options', *(f'{name}={value}' for name, value in data.items())]
    assert main([*arguments, *options]) == 0
    trials = json.loads((tmp_path / 'thresholds.json').read_text())
    assert [t['init_track_thr'] for t in trials] == [0.0, 0.9]
    assert trials[0]['DetA'] > trials[1]['DetA'] == 0
    assert "obj_score_thrs={'high':0.0,'low':0.0}" in capsys.readouterr().out


def test_command_says_what_it_cannot_tune(mini, tmp_path, capsys):
    random = ['--allow-random-weights', '--device=cpu', f'--out={tmp_path}']
    for config, arguments, expected in (
        ('motr_mini', [], 'found MOTR, expected FDTA'),
        ('sort_fdta-det_mini', [], 'name arguments of it with --try'),
        (str(mini.path), ['--try', 'momentum', '1'], "takes no 'momentum'"),
        (str(mini.path), ['--try', 'momentum'], 'and no value'),
    ):
        options = [
            *('--cfg-options', f'val_dataloader.dataset.data_root={mini.folder}/data'),
            *(
                f'val_dataloader.dataset.options.{k}={v}'
                for k, v in mini.dataset_options.items()
            ),
        ]
        assert main(['tune', config, *random, *arguments, *options]) == 1
        assert expected in capsys.readouterr().err
