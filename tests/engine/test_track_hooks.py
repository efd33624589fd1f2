# Copyright (c) mmfdta authors.
"""Pictures of a validation: which frames, which sequences, and what is in them."""

from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmfdta.apis.config import find_config
from mmfdta.engine import track_hooks
from mmfdta.engine.track_hooks import ValTrackVisualizationHook, WorstSequencesHook
from mmfdta.structures.mot_text import read_tracks
from mmfdta.visualization import identity_color, save_timeline

OPTIONS = dict(width=128, height=80, frames=6, train=0, val=3, test=0, min_dancers=3)


@pytest.fixture
def config(tmp_path):
    """Validation of an untrained model on three rendered sequences."""
    config = Config.fromfile(find_config('fdta_mini'))
    loader = config.val_dataloader
    loader.dataset.update(data_root=str(tmp_path / 'data'), options=OPTIONS)
    loader.update(num_workers=0, persistent_workers=False)
    config.model.tracker.update(det_thr=0.0, newborn_thr=0.0)
    runner = dict(
        model=config.model,
        work_dir=str(tmp_path / 'work'),
        val_dataloader=loader,
        val_cfg={},
        val_evaluator=config.val_evaluator,
        default_scope='mmdet',
        experiment_name=tmp_path.name,
        visualizer=dict(
            type='TrackVisualizer',
            name=tmp_path.name,
            vis_backends=[dict(type='LocalVisBackend')],
        ),
    )
    return Config(runner)


def _validate(config, hook):
    torch.manual_seed(1)
    runner = Runner.from_cfg(config)
    runner.register_hook(hook)
    runner.model.init_weights()
    runner.val()
    return runner


def test_every_nth_frame_is_drawn(config, tmp_path):
    _validate(config, ValTrackVisualizationHook(interval=4, max_sequences=2))
    folder = tmp_path / 'work' / 'val_tracks' / 'epoch_0'
    drawn = sorted(str(p.relative_to(folder)) for p in folder.rglob('*.jpg'))
    names = sorted(p.name for p in (tmp_path / 'data' / 'val').iterdir() if p.is_dir())
    expected = [f'{n}/{f}.jpg' for n in names[:2] for f in ('000001', '000005')]
    assert drawn == expected
    # The visualizer's backends got them too.
    kept = list((tmp_path / 'work').rglob('vis_image/**/*.png'))
    assert len(kept) == 4

    # Ground truth on the left: a box of the annotation is drawn in its colour.
    picture = cv2.imread(str(folder / expected[0]))[..., ::-1].astype(int)
    assert picture.shape == (80, 256, 3)
    rows = read_tracks(tmp_path / 'data' / 'val' / names[0] / 'gt' / 'gt.txt')
    found = 0
    for i in np.flatnonzero(rows.frame == 1):
        x, y, w, h = rows.xywh[i]
        x, y = round(x + w / 2), round(min(y + h, 78))
        patch = picture[y - 2 : y + 3, x - 2 : x + 3]
        near = np.abs(patch - identity_color(int(rows.identity[i]))).max(-1) < 60
        found += near.any()
    assert found >= 2


def test_worst_sequences_are_the_worst(config, tmp_path):
    runner = _validate(config, WorstSequencesHook(num=2, metric='DetA'))
    evaluation = runner.val_loop.evaluator.metrics[0].evaluation
    scores = {
        name: evaluation.of_sequence(name)['DetA'].mean()
        for name in evaluation.sequences
    }
    ranked = sorted(scores, key=lambda name: (scores[name], name))
    folder = tmp_path / 'work' / 'worst_sequences' / 'val_epoch_0'
    found = sorted(path.name for path in folder.iterdir())
    assert found == [
        f'{place}_{name}_DetA{100 * scores[name]:.1f}'
        for place, name in enumerate(ranked[:2], 1)
    ]
    for name in found:
        files = sorted(path.name for path in (folder / name).iterdir())
        assert files == ['timeline.png', 'tracks.mp4', 'tracks.txt']
        rows = read_tracks(folder / name / 'tracks.txt')
        assert set(rows.frame.tolist()) == set(range(1, 7))
        video = cv2.VideoCapture(str(folder / name / 'tracks.mp4'))
        assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 6


@pytest.mark.parametrize('metric', ['CLR_FN', 'IDSW', 'MLR', 'MT'])
def test_more_errors_are_worse(config, tmp_path, metric):
    runner = _validate(config, WorstSequencesHook(num=3, metric=metric, video=False))
    evaluation = runner.val_loop.evaluator.metrics[0].evaluation
    scores = {n: float(evaluation.of_sequence(n)[metric]) for n in evaluation.sequences}
    folder = tmp_path / 'work' / 'worst_sequences' / 'val_epoch_0'
    order = sorted(scores, key=lambda n: (scores[n] * (1 if metric == 'MT' else -1), n))
    shown = '{:.1f}' if metric == 'MLR' else '{:.0f}'
    values = [scores[n] * (100 if metric == 'MLR' else 1) for n in order]
    assert sorted(path.name for path in folder.iterdir()) == [
        f'{place}_{n}_{metric}{shown.format(value)}'
        for place, (n, value) in enumerate(zip(order, values, strict=True), 1)
    ]


def _draw_all(config, monkeypatch):
    """Validate; what the timelines show, by their names, and the evaluation."""
    shown = {}

    def keep(name, events, path):
        shown[name] = Counter(events.type.tolist()), path.name
        return save_timeline(name, events, path)

    monkeypatch.setattr(track_hooks, 'save_timeline', keep)
    runner = _validate(config, WorstSequencesHook(num=3, video=False))
    return shown, runner.val_loop.evaluator.metrics[0].evaluation


def _hold(shown, scores):
    names = {'SWITCH': 'IDSW', 'MISS': 'CLR_FN', 'FP': 'CLR_FP'}
    assert {kind: scores[name] for kind, name in names.items()} == {
        kind: shown[kind] for kind in names
    }


def test_timelines_follow_the_rules_of_the_metric(config, tmp_path, monkeypatch):
    """Some dancers are distractors, which MOT17's rules take out."""
    plain, _ = _draw_all(config, monkeypatch)
    for path in (tmp_path / 'data' / 'val').glob('*/gt/gt.txt'):
        rows = [row.split(',') for row in path.read_text().splitlines()]
        for row in rows:
            row[7] = '8' if row[1] == '1' else row[7]
        path.write_text(''.join(','.join(row) + '\n' for row in rows))
    config.val_evaluator.benchmark = 'mot17'
    config.experiment_name = config.visualizer.name = f'{tmp_path.name}_mot17'
    shown, evaluation = _draw_all(config, monkeypatch)
    assert len(shown) == 3
    for name, (counts, file) in shown.items():
        assert file == 'timeline.png'
        assert counts['MISS'] < plain[name][0]['MISS']
        _hold(counts, evaluation.of_sequence(name))


def test_classes_have_timelines_of_their_own(config, monkeypatch):
    """And none of a class that no sequence has."""
    config.val_dataloader.dataset.metainfo = dict(classes=('dancer', 'nobody'))
    config.val_evaluator.class_aware = True
    shown, evaluation = _draw_all(config, monkeypatch)
    assert len(shown) == 3 and evaluation.classes == ['dancer']
    for name in evaluation.sequences:
        counts, file = shown[f'{name}_dancer']
        assert file == 'timeline_dancer.png'
        _hold(counts, evaluation.of_sequence(name, 'dancer'))


def test_unknown_score_and_missing_metric_are_named(config):
    with pytest.raises(ValueError, match=r"metric: found 'Assa'.*AssA"):
        _validate(config, WorstSequencesHook(metric='Assa', video=False))
    for hook, argument in (
        (WorstSequencesHook, dict(num=0)),
        (ValTrackVisualizationHook, dict(interval=0)),
    ):
        with pytest.raises(ValueError, match='found 0'):
            hook(**argument)
