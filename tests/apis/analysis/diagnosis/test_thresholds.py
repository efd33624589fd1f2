# Copyright (c) mmfdta authors.
"""Thresholds: what is tried is what a config with that value has."""

import pytest
from mmdet.registry import MODELS
from mmengine.config import Config

from mmfdta.apis.analysis.diagnosis.thresholds import (
    ThresholdEffect,
    choose_values,
    measure_thresholds,
    plan_thresholds,
    read_thresholds,
    setting_of,
)
from mmfdta.apis.analysis.tune_thresholds import Trial, build_tracker
from mmfdta.apis.thresholds import TRACKERS, threshold_options

MOTION = dict(motion=dict(type='KalmanFilter'))
SETTINGS = dict(
    ByteTracker=MOTION,
    OCSORTTracker=MOTION,
    SORTTracker=dict(MOTION, reid=None),
    DeepSORTTracker=dict(MOTION, reid=dict(num_samples=10, match_score_thr=2.0)),
    OnlineStrongSORTTracker=dict(
        MOTION, reid=dict(num_samples=None, match_score_thr=0.3, motion_weight=0.02)
    ),
)


def setting(tracker, name):
    of_library = getattr(tracker, 'settings', {})
    return of_library[name] if name in of_library else getattr(tracker, name)


def read(tracker, keys):
    values = []
    for key in keys:
        name, _, part = key.partition('.')
        value = setting(tracker, name)
        values.append(value[part] if part else value)
    return values


@pytest.mark.parametrize('kind', [kind for kind in TRACKERS if kind != 'MOTRTracker'])
def test_a_setting_is_what_the_config_would_have(kind):
    cfg = dict(type=kind, **SETTINGS.get(kind, {}))
    if ':' in kind:  # of the package `trackers`
        cfg['type'], cfg['name'] = kind.split(':')
    present = MODELS.build(dict(cfg))
    assert set(read_thresholds(present)) == set(TRACKERS[kind])
    for name, values in plan_thresholds(present, steps=1).items():
        for value in values:
            config = Config(dict(model=dict(tracker=read_config(present, kind, cfg))))
            config.merge_from_dict(threshold_options(config.model, {name: value}))
            expected = MODELS.build(config.model.tracker.to_dict())
            made = build_tracker(present, cfg, setting_of(present, name, value))
            for keys in TRACKERS[kind].values():
                assert read(made, keys) == read(expected, keys), (name, value)


def read_config(present, kind, cfg):
    """The config with the defaults written out, which merging needs."""
    keys = {key.partition('.')[0] for keys in TRACKERS[kind].values() for key in keys}
    return {**cfg, **{key: setting(present, key) for key in keys}}


def test_a_gallery_has_the_thresholds_of_the_tracker_in_it():
    inner = dict(type='ByteTracker', num_tentatives=2, **MOTION)
    cfg = dict(type='GalleryTracker', tracker=inner, threshold=0.7)
    present = MODELS.build(dict(cfg))
    assert read_thresholds(present) == read_thresholds(present.tracker)
    made = build_tracker(present, cfg, setting_of(present, 'det_thr', 0.35))
    assert made.tracker.obj_score_thrs['high'] == made.tracker.init_track_thr == 0.35
    assert (made.tracker.num_tentatives, made.gallery.threshold) == (2, 0.7)


def test_values_stay_where_they_mean_something():
    assert choose_values('det_thr', 0.3, 2) == [0.1, 0.2, 0.3, 0.4, 0.5]
    # Lower detections are not there; a value between the steps stays.
    assert choose_values('det_thr', 0.25, 2, lowest=0.1) == [0.15, 0.25, 0.35, 0.45]
    assert choose_values('new_thr', 0.9, 1) == [0.8, 0.9]
    assert choose_values('match_thr', 0.1, 2, lowest=0.05) == [0.0, 0.1, 0.2, 0.3]
    assert choose_values('max_gap', 29, 1, longest=30) == [14, 29]
    assert choose_values('max_gap', 1, 2) == [1, 2, 4]
    assert choose_values('det_thr', 0.3, 0) == [0.3]
    # What no option takes is not tried.
    assert choose_values('det_thr', -0.05, 1, lowest=-0.05) == [-0.05, 0.05]
    assert choose_values('max_gap', 0, 1) == [0]


def test_of_equal_values_the_present_one_is_best():
    trials = {0.1: dict(HOTA=0.5), 0.2: dict(HOTA=0.5), 0.3: dict(HOTA=0.4)}
    effect = ThresholdEffect('det_thr', 0.2, trials)
    assert (effect.best, effect.gain) == (0.2, 0)
    assert effect.span == pytest.approx(0.1)
    effect = ThresholdEffect('det_thr', 0.3, trials)
    assert effect.best == 0.1 and effect.gain == pytest.approx(0.1)


class _Alike:
    """Every setting scores the same."""

    def try_setting(self, setting):
        return Trial(dict(setting), dict(HOTA=0.5, IDSW=3.0), 0.0)


def test_settings_that_are_best_are_those_of_the_config():
    """No option would choose a gap of 0, and two settings are one threshold."""
    scores = dict(obj_score_thrs=dict(high=0.6, low=0.1), init_track_thr=0.7)
    present = MODELS.build(
        dict(type='ByteTracker', num_frames_retain=1, **scores, **MOTION)
    )
    effects = measure_thresholds(_Alike(), present, plan_thresholds(present, steps=1))
    options = {effect.name: effect.options for effect in effects}
    assert options['det_thr'] == {
        'model.tracker.obj_score_thrs.high': 0.6,
        'model.tracker.init_track_thr': 0.7,
    }
    assert options['max_gap'] == {'model.tracker.num_frames_retain': 1}
