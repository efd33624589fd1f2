# Copyright (c) mmfdta authors.
"""Trackers of exported models: built from settings of a config, without PyTorch."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmfdta.models.trackers import FDTATracker, IdentityAssignment, TrajectoryHistory
from mmfdta.runtime.trackers import build_tracker, resolved_settings

CONFIGS = Path(__file__).parents[2] / 'configs'
WORDS = dict(type='FDTATracker', num_id_vocabulary=5, embed_dims=8, miss_tolerance=4)


def associate(
    features: np.ndarray, missing: np.ndarray, words: np.ndarray, embeddings: np.ndarray
) -> np.ndarray:
    """The word whose latest embedding is nearest."""
    assert features.shape[:2] == missing.shape
    assert (features[missing] == 0).all()
    scores = np.full((len(embeddings), 6), 0.05, np.float32)
    known = (~missing).sum(0)
    scores[:, words] = embeddings @ (features.sum(0) / known[:, None]).T
    return scores


def frames(count: int = 12):
    rng = np.random.default_rng(3)
    codes = np.eye(8, dtype=np.float32)
    for frame_id in range(count):
        present = np.flatnonzero(rng.random(8) < 0.6)
        corners = present[:, None] * np.array([20.0, 10.0])
        boxes = np.concatenate([corners, corners + 15], 1).astype(np.float32)
        scores = rng.uniform(0.2, 1, len(present)).astype(np.float32)
        yield frame_id, boxes, scores, present % 2, codes[present]


@pytest.mark.parametrize('overflow', ['drop', 'keep'])
@pytest.mark.filterwarnings('ignore:frame .* newborn objects')
def test_words_are_tracked_as_by_the_state_machine(overflow: str):
    """What the association is given, and that frame 0 starts a video."""
    settings = dict(WORDS, overflow=overflow)
    options = {name: value for name, value in settings.items() if name != 'type'}
    tracker = build_tracker(settings, associate)

    def scorer(history: TrajectoryHistory, embeddings: np.ndarray) -> np.ndarray:
        columns = history.features, history.masks, history.id_labels
        return associate(*columns, embeddings)

    seen = set()
    for _ in range(2):
        machine = IdentityAssignment(**options)
        for frame_id, boxes, scores, labels, embeddings in frames():
            found = tracker.track(frame_id, boxes, scores, labels, None, embeddings)
            rows, identities = machine.associate(
                boxes, scores, labels, embeddings, scorer
            )
            expected = boxes[rows], scores[rows], labels[rows], identities
            for column, other in zip(found, expected, strict=True):
                assert np.array_equal(column, other)
            seen |= {*identities.tolist()}
    assert len(seen) > 8


@pytest.mark.filterwarnings('ignore:frame .* newborn objects')
def test_areas_decide_and_boxes_stand_in_for_them():
    settings = dict(WORDS, area_thr=200)
    frame_id, boxes, scores, labels, embeddings = next(frames())
    scores = np.ones_like(scores)
    for areas, some in ((None, True), (np.full(len(boxes), 199.0), False)):
        tracker = build_tracker(settings, associate)
        found = tracker.track(frame_id, boxes, scores, labels, areas, embeddings)
        assert bool(len(found[0])) == some


@pytest.mark.parametrize(
    'path', sorted((CONFIGS / '_base_/trackers').glob('*.py')), ids=lambda p: p.stem
)
def test_settings_of_configs_are_known_or_their_tracker_is_refused(path: Path):
    settings = Config.fromfile(path).tracker.to_dict()
    if path.stem in ('botsort', 'cbiou', 'deepsort', 'strongsort'):
        with pytest.raises(ValueError, match=f"found '{settings['type']}'"):
            resolved_settings(settings)
        return
    resolved = resolved_settings(settings)
    assert resolved | settings == resolved
    assert resolved_settings(resolved) == resolved
    build_tracker(resolved)


def test_every_setting_of_fdta_is_known():
    model = FDTATracker(num_id_vocabulary=7, embed_dims=4, overflow='keep')
    resolved = resolved_settings(dict(type='mmfdta.FDTATracker', overflow='keep'))
    assert resolved.pop('type') == 'FDTATracker'
    assert resolved.keys() <= vars(model).keys()
    same = {name for name in resolved if resolved[name] == getattr(model, name)}
    assert resolved.keys() - same == {'num_id_vocabulary', 'embed_dims'}


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (
            dict(type='MOTRTracker'),
            "tracker.type: found 'MOTRTracker', expected one of",
        ),
        ({}, 'tracker.type: found None'),
        (dict(WORDS, id_thresh=0.1), 'tracker.id_thresh: found 0.1, but FDTATracker'),
        (dict(WORDS, det_thr='0.5'), "tracker.det_thr: found '0.5', expected a number"),
        (dict(WORDS, overflow='grow'), "tracker.overflow: found 'grow'"),
        (dict(type='SORTTracker', reid=dict(num_samples=10)), 'tracker.reid: found'),
        (
            dict(type='ByteTracker', motion=dict(type='CameraMotionCompensation')),
            "tracker.motion.type: found 'CameraMotionCompensation'",
        ),
        (
            dict(type='ByteTracker', obj_score_thrs=dict(high=0.6)),
            "tracker.obj_score_thrs: found ['high'], expected ['high', 'low']",
        ),
    ],
    ids=str,
)
def test_other_settings_are_refused_in_a_line(settings: dict, message: str):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        build_tracker(settings, associate)
    assert '\n' not in str(error.value)


def test_fdta_needs_an_association_and_embeddings():
    with pytest.raises(ValueError, match='association: found none'):
        build_tracker(WORDS)
    frame_id, *columns, _ = next(frames())
    with pytest.raises(ValueError, match='embeddings: found none'):
        build_tracker(WORDS, associate).track(frame_id, *columns)


def test_trackers_load_neither_pytorch_nor_mmdetection():
    code = (
        'import sys\n'
        'from mmfdta.runtime.trackers import TRACKERS, build_tracker\n'
        'for kind in TRACKERS:\n'
        '    build_tracker(dict(type=kind), lambda *_: None)\n'
        "assert not {'torch', 'mmdet', 'mmcv', 'mmengine', 'lap'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, '-c', code], check=True)
