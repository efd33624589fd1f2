# Copyright (c) mmfdta authors.
"""Tuning: replayed detections track as the model does, and each is found once."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from mmfdta.apis.analysis.tune_thresholds import (
    Resumed,
    Trial,
    Tuner,
    build_tracker,
    format_trials,
    present_setting,
    search_coordinates,
    search_fingerprint,
    search_grid,
    search_random,
    search_settings,
    search_space,
    track_known,
)
from mmfdta.apis.config import find_config
from mmfdta.apis.detection_store import DetectionStore
from mmfdta.apis.evaluation_data import EvaluationData
from mmfdta.apis.sequence_loop import SequenceLoop
from mmfdta.cli.main import main
from mmfdta.datasets import ClipIndex
from mmfdta.models.mot.fdta import share_sizes
from mmfdta.models.trackers import GalleryTracker, new_tracker


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


def test_a_gallery_remembers_from_video_to_video_as_in_a_benchmark(mini, tuner):
    """All embeddings of random weights are alike, so that objects are found again."""
    cfg = dict(type='GalleryTracker', threshold=0.5, min_quality=0.0)
    cfg |= dict(across_videos=True, tracker=dict(mini.config.model.tracker))
    loop, detections = tuner._loop, tuner._detections
    before = mini.model.tracker
    kept: list[list] = []

    def build() -> GalleryTracker:
        return build_tracker(GalleryTracker(before), cfg, {})

    class Data(EvaluationData):
        def score(self, tracks):
            kept.append([one.identity.tolist() for one in tracks])
            return super().score(tracks)

    try:
        mini.model.tracker = build()
        data = Data(mini.dataset, 'minidance')
        Tuner(loop, detections, data, cfg).try_setting({})
        mini.model.tracker = build()
        data.score([track_known(loop, i, k, data) for i, k in enumerate(detections)])
    finally:
        mini.model.tracker = before
    assert kept[0] == kept[1]
    alone = track_known(loop, 1, detections[1], data, build())
    assert alone.identity.tolist() != kept[1][1]


def test_a_tracker_is_built_for_a_setting(mini):
    present = mini.model.tracker
    tracker_cfg = mini.config.model.tracker
    tracker = build_tracker(present, tracker_cfg, dict(id_thr=0.7))
    assert tracker is not present and tracker.id_thr == 0.7
    assert tracker.num_id_vocabulary == present.num_id_vocabulary
    assert tracker.embed_dims == present.embed_dims
    with pytest.raises(ValueError, match="takes no 'id_threshold'; it takes .*id_thr"):
        build_tracker(present, tracker_cfg, dict(id_threshold=0.7))


def test_a_tracker_in_a_gallery_keeps_what_its_model_told_it(mini):
    present = GalleryTracker(new_tracker(mini.model), threshold=0.5)
    inside = dict(mini.config.model.tracker)
    cfg = dict(type='GalleryTracker', threshold=0.5, tracker=inside)
    setting = {'threshold': 0.75, 'tracker.id_thr': 0.7}
    tracker = build_tracker(present, cfg, setting)
    assert tracker.gallery.threshold == 0.75
    assert tracker.id_thr == 0.7
    assert tracker.embed_dims == mini.model.tracker.embed_dims
    assert tracker.miss_tolerance == mini.model.tracker.miss_tolerance


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
        best.append(top.setting)
    # The protocol decides nothing here: of equal ones the first is the best.
    expected = dict(det_thr=0.4, newborn_thr=0.6, id_thr=0.1, protocol='object-max')
    assert best == [expected] * 2


def test_a_start_that_no_value_beats_stays():
    start = dict(det_thr=0.4, newborn_thr=0.6, id_thr=0.1, protocol='greedy')
    worse = dict(_CHOICES, det_thr=[0.2, 0.3])
    assert search_coordinates(_Quadratic(), worse, start).setting == start


def test_drawn_combinations_are_no_more_than_asked_for_and_never_twice():
    start = dict(det_thr=0.5, newborn_thr=0.6, id_thr=0.1, protocol='hungarian')
    few, again, many, other = (_Quadratic() for _ in range(4))
    search_random(few, _CHOICES, start, 5, seed=1)
    search_random(again, _CHOICES, start, 5, seed=1)
    search_random(other, _CHOICES, start, 5, seed=2)
    assert len(few.trials) == 5 and few.trials[0].setting == start
    assert few.trials == again.trials != other.trials
    # More of them begin with the same ones, and there are 16 in all.
    best = search_random(many, _CHOICES, start, 100, seed=1)
    assert many.trials[:5] == few.trials and len(many.trials) == 16
    assert (best.setting['det_thr'], best.setting['id_thr']) == (0.4, 0.1)
    # A start that is none of the combinations is one more.
    more = _Quadratic()
    search_random(more, _CHOICES, dict(start, det_thr=0.9), 100)
    assert len(more.trials) == 17
    # A value that is named twice makes no more of them.
    twice = _Quadratic()
    search_random(twice, dict(_CHOICES, det_thr=[0.5, 0.5]), start, 100)
    others = [len(values) for name, values in _CHOICES.items() if name != 'det_thr']
    assert len(twice.trials) == math.prod(others)


def test_a_start_of_tuples_is_one_of_lists():
    """A config read from JSON has lists where a space has tuples."""
    choices = dict(pair=[(1, 2), (3, 4)])
    for start in ([1, 2], (1, 2)):
        tried = _Pairs()
        search_random(tried, choices, dict(pair=start), 40)
        assert [tuple(of['pair']) for of in tried.settings] == [(1, 2), (3, 4)]
    listed = _Pairs()
    search_random(listed, dict(pair=[[1, 2], [3, 4]]), dict(pair=(1, 2)), 40)
    assert len(listed.settings) == 2


class _Pairs:
    """Tries anything, at most a hundred times."""

    def __init__(self) -> None:
        self.settings: list[dict] = []

    def try_setting(self, setting) -> Trial:
        self.settings.append(dict(setting))
        assert len(self.settings) < 100
        return Trial(dict(setting), dict(HOTA=0.0), 0.0)


def test_trials_do_not_outlive_the_classes_they_were_scored_by(mini):
    def name(change=lambda truth: truth, **meta) -> str:
        data = EvaluationData(mini.dataset, 'minidance')
        vars(data)['truths'] = [change(truth) for truth in data.truths]
        before = dict(mini.dataset._metainfo)
        mini.dataset._metainfo.update(meta)
        try:
            return search_fingerprint(mini.model, data, mini.config, 0.0)
        finally:
            mini.dataset._metainfo = before

    assert name() == name()
    assert name(lambda truth: replace(truth, label=truth.label + 1)) != name()
    two = dict(classes=('person', 'car'))
    numbered = [name(**two, class_numbers=numbers) for numbers in ((1, 2), (1, 3))]
    assert numbered[0] != numbered[1]


def test_one_value_at_a_time_keeps_to_its_budget():
    tuner = _Quadratic()
    start = dict(det_thr=0.2, newborn_thr=0.6, id_thr=0.2, protocol='object-max')
    best = search_coordinates(tuner, _CHOICES, start, trials=3)
    assert len(tuner.trials) == 3
    assert best is max(tuner.trials, key=lambda trial: trial.scores['HOTA'])


def test_a_name_with_a_dot_reaches_into_an_argument():
    init_default_scope('mmdet')
    cfg = Config.fromfile(find_config('bytetrack_fdta-det_mini')).model.tracker
    present = MODELS.build(cfg)
    names = ('match_iou_thrs.low', 'obj_score_thrs.high', 'num_tentatives')
    now = present_setting(present, cfg, names)
    assert now == {
        'match_iou_thrs.low': 0.5,
        'obj_score_thrs.high': 0.6,
        'num_tentatives': 3,
    }
    setting = {'match_iou_thrs.low': 0.2, 'match_iou_thrs.high': 0.3}
    tracker = build_tracker(present, cfg, setting)
    assert tracker.match_iou_thrs == dict(high=0.3, low=0.2, tentative=0.3)
    assert present.match_iou_thrs == dict(high=0.1, low=0.5, tentative=0.3)
    assert cfg.match_iou_thrs.low == 0.5
    with pytest.raises(ValueError, match="'middle', expected one of .*'tentative'"):
        build_tracker(present, cfg, {'match_iou_thrs.middle': 0.2})
    with pytest.raises(ValueError, match="init_track_thr.x: found 'x'"):
        build_tracker(present, cfg, {'init_track_thr.x': 0.2})


def test_a_name_reaches_into_a_tracker_that_another_is_around():
    init_default_scope('mmdet')
    inner = Config.fromfile(find_config('bytetrack_fdta-det_mini')).model.tracker
    cfg = Config(dict(t=dict(type='GalleryTracker', tracker=inner, threshold=0.7))).t
    present = MODELS.build(cfg)
    names = ('threshold', 'tracker.num_tentatives', 'tracker.match_iou_thrs.low')
    now = present_setting(present, cfg, names)
    assert now == dict(zip(names, (0.7, 3, 0.5), strict=True))
    setting = dict(zip(names, (0.6, 2, 0.2), strict=True))
    tracker = build_tracker(present, cfg, setting)
    assert tracker.gallery.threshold == 0.6
    assert tracker.tracker.match_iou_thrs == dict(high=0.1, low=0.2, tentative=0.3)
    assert tracker.tracker.num_tentatives == 2
    assert present.tracker.num_tentatives == 3 and present.gallery.threshold == 0.7
    other = dict(type='GalleryTracker', tracker=dict(type='IoUEmbeddingTracker'))
    with pytest.raises(ValueError, match=r"tracker\.tracker: IoUEm\w+ takes no 'x'"):
        build_tracker(MODELS.build(dict(other)), other, {'tracker.x': 0.2})
    with pytest.raises(
        ValueError, match="match_iou_thrs.x: found 'x', expected one of"
    ):
        build_tracker(present, cfg, {'tracker.match_iou_thrs.x': 0.2})
    # It is tried with the space of the tracker inside.
    space = search_space(Config(dict(model=dict(tracker=cfg))))
    inside = search_space(Config(dict(model=dict(tracker=inner))))
    assert {f'tracker.{name}': values for name, values in inside.items()} | SPACES[
        'GalleryTracker'
    ].to_dict() == space


SPACES = Config.fromfile(find_config('_base_/search_spaces')).search_spaces
TUNED = {
    'FDTATracker': 'fdta_mini',
    'IoUEmbeddingTracker': 'iou-embedding_fdta-det_mini',
    'ByteTracker': 'bytetrack_fdta-det_mini',
    'OCSORTTracker': 'ocsort_fdta-det_mini',
    'SORTTracker': 'sort_fdta-det_mini',
    'DeepSORTTracker': 'deepsort_fdta-det_mini',
    'OnlineStrongSORTTracker': 'strongsort_fdta-det_mini',
    'GalleryTracker': 'fdta-gallery_mini',
    'LibraryTracker:botsort': 'botsort_fdta-det_mini',
    'LibraryTracker:cbiou': 'cbiou_fdta-det_mini',
}


def test_the_setting_of_the_config_gets_the_detections_it_asks_for(mini, tuner):
    """Its det_thr is 0, below all values that are tried."""
    found = search_settings(
        mini.model,
        EvaluationData(mini.dataset, 'minidance'),
        mini.config,
        dict(det_thr=[0.3]),
        lambda tuner, choices, start: tuner.try_setting(start),
        mini.folder / 'start',
        mini.folder / 'c',
    )
    assert found.best.setting == dict(det_thr=0.0)
    assert found.best.scores == tuner.try_setting({}).scores


@pytest.mark.parametrize('kind', SPACES)
def test_every_value_of_a_space_is_one_that_the_tracker_takes(kind):
    init_default_scope('mmdet')
    config = Config.fromfile(find_config(TUNED[kind]))
    space = search_space(config)
    own = {k: v for k, v in space.items() if not k.startswith('tracker.')}
    assert own == SPACES[kind].to_dict()
    sizes = config.model if config.model.type != 'FDTA' else share_sizes(config.model)
    present, cfg = MODELS.build(sizes['tracker']), config.model.tracker
    for name, values in space.items():
        for value in values:
            part, key = build_tracker(present, cfg, {name: value}), name
            if kind == 'GalleryTracker':
                part = part.tracker if name.startswith('tracker.') else part.gallery
                key = name.removeprefix('tracker.')
            arguments = getattr(part, 'arguments', {})
            assert present_setting(part, arguments, [key]) == {key: value}
    # What is published stands in the middle of what is tried.
    for name, value in present_setting(present, cfg, space).items():
        numbers = [v for v in space[name] if not isinstance(v, str | bool)]
        assert not numbers or min(numbers) <= value <= max(numbers), name


def test_a_config_may_have_a_space_of_its_own():
    model = dict(tracker=dict(type='SORTTracker'))
    own = Config(dict(model=model, search=dict(match_iou_thr=[0.1, 0.2])))
    assert search_space(own) == dict(match_iou_thr=[0.1, 0.2])
    unknown = Config(dict(model=dict(tracker=dict(type='NoTracker'))))
    assert search_space(unknown) == {}
    for wrong, expected in (
        (dict(match_iou_thr=0.1), 'search.match_iou_thr: found 0.1, expected a list'),
        (dict(match_iou_thr=[]), 'search.match_iou_thr: found '),
        ([], 'search: found '),
    ):
        with pytest.raises(ValueError, match=expected):
            search_space(Config(dict(model=model, search=wrong)))


def test_trials_are_found_again_unless_something_else_decides(tmp_path):
    trials = [Trial({'a.b': 0.1, 'c': 'x'}, dict(HOTA=0.5, IDSW=3.0), 1.5)]
    path = tmp_path / 'trials.json'
    Resumed(path, 'one').write(trials)
    assert Resumed(path, 'one').read() == trials
    assert Resumed(path, 'two').read() == []
    path.write_text('{"fingerprint": "one", "tri')
    assert Resumed(path, 'one').read() == []


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


def test_command_draws_from_the_space_and_goes_on_where_it_was(
    mini, tmp_path, capsys, monkeypatch
):
    arguments = [
        *('tune', str(mini.path), f'--checkpoint={mini.checkpoint}', '--device=cpu'),
        *(f'--out={tmp_path}', '--search=random', '--seed=3', '--trials'),
    ]
    made = []
    make = Tuner._make

    def count(tuner, setting):
        made.append(setting)
        return make(tuner, setting)

    monkeypatch.setattr(Tuner, '_make', count)
    assert main([*arguments, '3']) == 0
    first = json.loads((tmp_path / 'thresholds.json').read_text())
    assert len(first) == len(made) == 3
    assert first[0]['det_thr'] == mini.model.tracker.det_thr
    assert all(t['id_thr'] in SPACES['FDTATracker']['id_thr'] for t in first[1:])
    assert main([*arguments, '4']) == 0
    rows = json.loads((tmp_path / 'thresholds.json').read_text())
    assert rows[:3] == first and len(rows) == len(made) == 4
    best = max(rows, key=lambda row: row['HOTA'])
    assert f'model.tracker.det_thr={best["det_thr"]}' in capsys.readouterr().out
    # Other settings that decide: all trials are made anew.
    assert main([*arguments, '3', '--benchmark=dancetrack']) == 0
    assert len(made) == 7


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
        ('sort_fdta-det_mini', [], 'search space with --search random'),
        (str(mini.path), ['--try', 'momentum', '1'], "takes no 'momentum'"),
        (str(mini.path), ['--try', 'momentum'], 'and no value'),
        (str(mini.path), ['--search', 'random', '--trials', '0'], 'at least 1'),
        (str(mini.path), ['--trials', '5'], 'tries all combinations'),
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
