# Copyright (c) mmfdta authors.
"""All parts of a diagnosis count the same run."""

import copy
import json

import numpy as np
import pytest
from mmdet.registry import MODELS

from mmfdta.apis.analysis.diagnosis.run import Diagnosis
from mmfdta.apis.analysis.tune_thresholds import track_known
from mmfdta.apis.thresholds import threshold_options
from mmfdta.evaluation import summarise


@pytest.mark.parametrize('classes', [1, 2])
def test_the_parts_add_up_to_the_scores(scripted, classes):
    loop, data, found = scripted(0, classes, class_aware=classes == 2)
    tracker = loop.model.tracker
    names = ('num_id_vocabulary', 'embed_dims', 'det_thr', 'newborn_thr', 'id_thr')
    cfg = dict(type='FDTATracker', **{name: getattr(tracker, name) for name in names})
    diagnosis = Diagnosis(loop, data, cfg, steps=1)
    counted = []
    content = diagnosis.run(found, counted.append)
    assert sum(counted) == diagnosis.frames
    json.dumps(content)

    tracks = [track_known(loop, i, known, data) for i, known in enumerate(found)]
    scores = summarise(data.score(tracks).over_classes())
    own = content['bounds']['scores']['tracker']
    assert own == pytest.approx({name: scores[name] for name in own})
    assert content['switches']['total'] == scores['IDSW'] > 0
    assert sum(content['switches']['causes'].values()) == scores['IDSW']
    assert content['misses']['total'] == scores['CLR_FN'] > 0
    assert content['births']['total'] == sum(
        len(np.unique(of.identity)) for of in tracks
    )
    boxes = sum(map(len, data.scored))
    assert scores['CLR_FN'] + scores['CLR_TP'] == content['bounds']['objects'] == boxes
    for effect in content['thresholds'].values():
        (now,) = [t for t in effect['trials'] if t['value'] == effect['value']]
        assert now['HOTA'] == pytest.approx(own['HOTA'])
        assert now['IDSW'] == own['IDSW']
    bounds = content['bounds']['scores']
    assert bounds['true_identities']['IDSW'] == bounds['true_association']['IDSW'] == 0
    hota = [of['HOTA'] for of in bounds.values()]
    assert hota[0] < hota[1] < hota[2]


@pytest.mark.parametrize(('tolerance', 'tried'), [(9, [4, 7, 14]), (10, [4, 8])])
def test_the_model_accepts_all_gaps_that_are_tried(
    trained, monkeypatch, tolerance, tried
):
    """A window of 16 frames has a gap of 14 between its first and its last."""
    config = copy.deepcopy(trained.config)
    config.model.tracker.miss_tolerance = tolerance
    monkeypatch.setattr(trained.model.tracker, 'miss_tolerance', tolerance)
    diagnosis = Diagnosis(trained.loop, trained.data, config.model.tracker)
    assert diagnosis.plan['max_gap'] == tried

    def build(gap):
        longer = copy.deepcopy(config.model)
        for option, value in threshold_options(longer, dict(max_gap=gap)).items():
            assert option == 'model.tracker.miss_tolerance'
            longer.tracker.miss_tolerance = value
        return MODELS.build(longer)

    assert build(max(tried)).window == 16
    with pytest.raises(ValueError, match='miss_tolerance'):
        build(15)
