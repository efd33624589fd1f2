# Copyright (c) mmfdta authors.
"""Thresholds by common names do in every tracker what their name says."""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData

import mmfdta.registry  # noqa: F401
from mmfdta.apis.config import find_config
from mmfdta.apis.thresholds import (
    MEANINGS,
    TRACKERS,
    current_thresholds,
    kind_of,
    threshold_options,
)

SIZE = dict(img_shape=(100, 100), scale_factor=(1.0, 1.0))
BOX = [10.0, 10.0, 50.0, 90.0]
GREY = np.full((100, 60, 3), 128, np.uint8)
# The configs that show each tracker.
CONFIGS = {
    'ByteTracker': 'bytetrack_yolox-tiny_coco',
    'OCSORTTracker': 'ocsort_yolox-x_mot17',
    'SORTTracker': 'sort_yolox-x_mot17',
    'DeepSORTTracker': 'deepsort_faster-rcnn_mot17',
    'OnlineStrongSORTTracker': 'strongsort_yolox-x_mot17',
    'FDTATracker': 'fdta_dancetrack',
    'IoUEmbeddingTracker': 'iou-embedding_fdta-det_mini',
    'LibraryTracker:botsort': 'botsort_yolox-nano_coco',
    'LibraryTracker:cbiou': 'cbiou_fdta-det_mini',
}


def tracker_with(kind, **thresholds):
    config = Config.fromfile(find_config(CONFIGS[kind]))
    config.merge_from_dict(threshold_options(config.model, thresholds))
    tracker = MODELS.build(config.model.tracker)
    assert kind_of(config.model.tracker) == kind
    assert type(tracker).__name__ == kind.partition(':')[0]
    return tracker


def continue_the_object(history, embeddings):
    """Scores of 50 words and newborn: each detection has the word of the object."""
    return torch.eye(51)[history.id_labels[[0] * len(embeddings)]]


def follow(tracker, scores):
    """Identities of an object that stands still, per frame; None: it is missed."""
    identities = []
    for index, score in enumerate(scores):
        found = [] if score is None else [score]
        sample = DetDataSample(metainfo=dict(frame_id=index, **SIZE))
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor([BOX] * len(found)).reshape(-1, 4),
            scores=torch.tensor(found, dtype=torch.float32),
            labels=torch.zeros(len(found), dtype=torch.int64),
            embeddings=torch.ones(len(found), getattr(tracker, 'embed_dims', 4)),
        )
        context = dict(model=None, img=None, data_preprocessor=None, rescale=True)
        context |= dict(frame=lambda: GREY, score_identities=continue_the_object)
        tracks = tracker.track(data_sample=sample, **context)
        ids = tracks.instances_id.tolist()
        assert len(ids) <= 1
        identities.append(ids[0] if ids else None)
    return identities


@pytest.mark.parametrize('kind', CONFIGS)
def test_a_lone_object_is_tracked_above_det_thr(kind):
    for threshold, seen in ((0.55, False), (0.45, True)):
        begin = dict(new_thr=threshold) if 'new_thr' in TRACKERS[kind] else {}
        tracker = tracker_with(kind, det_thr=threshold, **begin)
        found = follow(tracker, [0.5] * 3)
        assert found == ([0, 0, 0] if seen else [None] * 3)


@pytest.mark.parametrize('kind', [k for k in CONFIGS if 'max_gap' in TRACKERS[k]])
@pytest.mark.parametrize('gap', [1, 4])
def test_an_identity_outlasts_max_gap_and_no_longer(kind, gap):
    for missed, kept in ((gap, True), (gap + 1, False)):
        tracker = tracker_with(kind, max_gap=gap)
        found = follow(tracker, [0.95] * 4 + [None] * missed + [0.95])
        assert found[:4] == [0] * 4 and (found[-1] == 0) == kept


def test_low_thr_continues_tracks_and_begins_none():
    for threshold, second in ((0.15, 0), (0.25, None)):
        tracker = tracker_with('ByteTracker', low_thr=threshold)
        assert follow(tracker, [0.9, 0.2])[1] == second
        assert follow(tracker, [0.2, 0.2]) == [None, None]


@pytest.mark.parametrize('kind', CONFIGS)
def test_shown_thresholds_are_those_that_were_set(kind):
    names = TRACKERS[kind]
    wanted = {n: 7 if n == 'max_gap' else 0.25 for n in names}
    config = Config.fromfile(find_config(CONFIGS[kind]))
    config.merge_from_dict(threshold_options(config.model, wanted))
    assert current_thresholds(config.model) == wanted
    assert set(names) <= set(MEANINGS)


@pytest.mark.parametrize(
    ('config', 'threshold', 'key', 'now'),
    [
        ('bytetrack_yolox-x_mot17', 'low_thr', 'score_thr', 0.1),
        ('deepsort_faster-rcnn_mot17', 'det_thr', 'rcnn.score_thr', 0.05),
    ],
)
def test_the_detector_lets_through_what_the_tracker_wants(config, threshold, key, now):
    config = Config.fromfile(find_config(config))
    key = f'model.detector.test_cfg.{key}'
    low, high = ({threshold: factor * now} for factor in (0.5, 2))
    assert key not in threshold_options(config.model, high)
    config.merge_from_dict(threshold_options(config.model, low))
    found = config
    for part in key.split('.'):
        found = found[part]
    assert found == 0.5 * now


@pytest.mark.parametrize(
    ('thresholds', 'message'),
    [
        (dict(new_thr=0.7), '--new-thr: ByteTracker has no .* --det-thr .now 0.6.'),
        (dict(det_thr=1.5), '--det-thr: found 1.5, expected 0 to 1'),
        (dict(det_thr=float('nan')), '--det-thr: found nan'),
        (dict(max_gap=0), '--max-gap: found 0, expected a whole number'),
        (dict(max_gap=2.5), '--max-gap: found 2.5'),
    ],
)
def test_what_cannot_be_is_refused(thresholds, message):
    model = Config.fromfile(find_config('bytetrack_yolox-tiny_coco')).model
    with pytest.raises(ValueError, match=message):
        threshold_options(model, thresholds)


def test_a_tracker_of_the_users_own_is_pointed_to_its_config():
    model = dict(tracker=dict(type='MyTracker'))
    with pytest.raises(ValueError, match="'MyTracker'; set it with --cfg-options"):
        threshold_options(model, dict(det_thr=0.5))


# What its class has by default beside the thresholds lets a still object be found.
@pytest.mark.parametrize('name', ['bytetrack', 'ocsort', 'sort', 'mcbyte'])
def test_thresholds_of_the_package_reach_its_classes(name):
    """Every name is an argument, and does what it says."""
    kind = f'LibraryTracker:{name}'
    model = dict(tracker=dict(type='LibraryTracker', name=name))
    wanted = {n: 4 if n == 'max_gap' else 0.25 for n in TRACKERS[kind]}
    options = threshold_options(model, wanted)
    settings = {key.rpartition('.')[2]: value for key, value in options.items()}
    tracker = MODELS.build(dict(model['tracker'], **settings))
    for missed, kept in ((4, True), (5, False)):
        found = follow(tracker, [0.95] * 6 + [None] * missed + [0.95] * 6)
        assert found[5] == 0 and (found[-1] == 0) == kept
    seen = follow(tracker, [0.24] * 6), follow(tracker, [0.26] * 6)
    assert seen[0] == [None] * 6 and seen[1][-1] == 0


@pytest.mark.parametrize('rate', [10.0, 25.0, 60.0])
@pytest.mark.parametrize('gap', [1, 5])
def test_frames_per_second_do_not_scale_max_gap(rate, gap):
    """The package counts frames of 30 per second; its default is a second."""
    tracker = dict(type='LibraryTracker', name='bytetrack', frame_rate=rate)
    shown = dict(tracker, lost_track_buffer=30)
    assert current_thresholds(dict(tracker=shown))['max_gap'] == rate
    config = Config(dict(model=dict(tracker=tracker)))
    config.merge_from_dict(threshold_options(config.model, dict(max_gap=gap)))
    assert current_thresholds(config.model)['max_gap'] == gap
    for missed, kept in ((gap, True), (gap + 1, False)):
        scores = [0.95] * 6 + [None] * missed + [0.95] * 6
        found = follow(MODELS.build(config.model.tracker), scores)
        assert found[5] == 0 and (found[-1] == 0) == kept
