# Copyright (c) mmfdta authors.
"""Tuning: replayed detections track as the model does, and each is found once."""

import json

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate

from mmfdta.apis.analysis import tune_thresholds
from mmfdta.apis.analysis.detection_cache import cache_detections, fingerprint
from mmfdta.apis.analysis.tune_thresholds import (
    ThresholdTuner,
    TrackerSetting,
    Trial,
    format_trials,
    search_coordinates,
    search_grid,
)
from mmfdta.datasets import ClipIndex


@pytest.fixture(scope='module')
def tuner(mini):
    cached = cache_detections(mini.model, mini.dataset, mini.folder / 'c', 0.0, 3)
    cfg = mini.config.model.tracker.to_dict()
    return ThresholdTuner(mini.model, cfg, cached, mini.dataset, 'minidance')


@pytest.mark.parametrize('protocol', ['object-max', 'hungarian'])
def test_replay_equals_the_model(mini, tuner, protocol):
    tracker = mini.model.tracker
    before = tracker.protocol
    tracker.protocol = protocol
    setting = TrackerSetting(
        tracker.det_thr, tracker.newborn_thr, tracker.id_thr, protocol
    )
    try:
        for index, cached in enumerate(tuner._sequences):
            found = tuner.track(cached, setting)
            assert len(found) > 8
            for frame in range(len(cached)):
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


def test_detections_are_found_once_and_survive(mini, tmp_path, monkeypatch):
    first = cache_detections(mini.model, mini.dataset, tmp_path, 0.0)
    paths = sorted(tmp_path.iterdir())
    assert [path.suffix for path in paths] == ['.npz', '.npz']

    def refuse(*args):
        raise AssertionError('the detector must not run again')

    monkeypatch.setattr('mmfdta.apis.analysis.detection_cache.detect_clip', refuse)
    second = cache_detections(mini.model, mini.dataset, tmp_path, 0.0)
    for one, other in zip(first, second, strict=True):
        assert one.offsets == other.offsets and one.image_size == (64, 96)
        assert torch.equal(one.embeddings, other.embeddings)


def test_fingerprint_changes_with_what_decides(mini):
    dataset = mini.config.val_dataloader.dataset
    names = {fingerprint(mini.model, mini.config, dataset, 0.1)}
    names.add(fingerprint(mini.model, mini.config, dataset, 0.1))
    assert len(names) == 1
    names.add(fingerprint(mini.model, mini.config, dataset, 0.2))
    other = dataset.copy()
    other.split = 'test'
    names.add(fingerprint(mini.model, mini.config, other, 0.1))
    weight = next(mini.model.detector.parameters())
    with torch.no_grad():
        weight += 1
        names.add(fingerprint(mini.model, mini.config, dataset, 0.1))
        weight -= 1
    assert len(names) == 4


class _Quadratic:
    """A tuner whose best setting is known."""

    def __init__(self):
        self.trials = {}

    def try_setting(self, setting):
        distance = (setting.det_thr - 0.4) ** 2 + (setting.id_thr - 0.1) ** 2
        scores = dict.fromkeys(('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1'), 1 - distance)
        trial = Trial(setting, scores, 0.0)
        self.trials[setting] = trial
        return trial


_CHOICES = dict(
    det_thr=[0.2, 0.3, 0.4, 0.5],
    newborn_thr=[0.6],
    id_thr=[0.1, 0.2],
    protocol=['object-max', 'hungarian'],
)


def test_both_searches_find_the_best():
    best = []
    for search in ('grid', 'coordinate'):
        tuner, reported = _Quadratic(), []
        if search == 'grid':
            search_grid(tuner, _CHOICES, reported.append)
            assert len(tuner.trials) == 16
        else:
            start = TrackerSetting(0.2, 0.6, 0.2, 'object-max')
            search_coordinates(tuner, _CHOICES, start, reported.append)
            assert len(tuner.trials) < 16
        assert len(reported) == len(tuner.trials)
        top = max(tuner.trials.values(), key=lambda t: t.scores['HOTA'])
        best.append((top.setting.det_thr, top.setting.id_thr))
    assert best == [(0.4, 0.1)] * 2


def test_table_has_the_best_first():
    tuner = _Quadratic()
    search_grid(tuner, _CHOICES, lambda trial: None)
    rows = format_trials(tuner.trials.values()).splitlines()
    assert rows[2].startswith('| 0.4 | 0.6 | 0.1 |') and '100.00' in rows[2]


def test_command_tries_keeps_and_names_the_best(mini, tmp_path, capsys):
    arguments = [
        str(mini.path),
        f'--checkpoint={mini.checkpoint}',
        f'--out={tmp_path}',
        '--device=cpu',
        '--det-thr',
        '0.0',
        '0.9',
        '--protocol',
        'object-max',
        'id-max',
        '--benchmark=minidance',
    ]
    tune_thresholds.main(arguments)
    trials = json.loads((tmp_path / 'thresholds.json').read_text())
    assert len(trials) == 4
    # Nothing scores above 0.9: no tracks, no association.
    assert {t['HOTA'] for t in trials if t['det_thr'] == 0.9} == {0.0}
    assert '--cfg-options model.tracker.det_thr=' in capsys.readouterr().out
