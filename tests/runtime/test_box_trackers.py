# Copyright (c) mmfdta authors.
"""MMDetection's trackers on arrays against MMDetection's own, frame by frame."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import lap
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from mmfdta.runtime.box_trackers import motion
from mmfdta.runtime.box_trackers.matching import match
from mmfdta.runtime.trackers import build_tracker

# A long run sets this to 1,000.
EXAMPLES = int(os.environ.get('MMFDTA_FUZZ_EXAMPLES', '1'))
CONFIGS = Path(__file__).parents[2] / 'configs/_base_/trackers'
SIZE = 480, 640

Frame = tuple[np.ndarray, np.ndarray, np.ndarray]


class OfMMDetection:
    """MMDetection's tracker, given what TrackingByDetection gives it."""

    with_reid = False

    def __init__(self, options: dict) -> None:
        with DefaultScope.overwrite_default_scope('mmdet'):
            self.tracker = MODELS.build(options)

    def track(self, frame_id: int, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
        names = 'bboxes', 'scores', 'labels'
        order = torch.from_numpy(columns[1]).argsort(descending=True, stable=True)
        sample = DetDataSample(metainfo=dict(frame_id=frame_id, ori_shape=SIZE))
        sample.pred_instances = InstanceData(
            **{
                n: torch.from_numpy(c)[order]
                for n, c in zip(names, columns, strict=True)
            }
        )
        tracks = self.tracker.track(model=self, img=None, data_sample=sample)
        return tuple(tracks.get(name).numpy() for name in (*names, 'instances_id'))


def crowd(rng: np.random.Generator, frames: int) -> Iterator[Frame]:
    """Up to ten boxes that lie on each other, anew in every frame."""
    for _ in range(frames):
        count = int(rng.integers(0, 11)) * int(rng.integers(0, 5) > 0)
        places = rng.integers(0, 4, (count, 2)) * 12 + rng.normal(0, 1, (count, 2))
        boxes = np.concatenate([places, places + rng.uniform(12, 20, (count, 2))], 1)
        yield (
            boxes.astype(np.float32),
            rng.uniform(0.05, 0.95, count).astype(np.float32),
            rng.integers(0, 2, count),
        )


def walkers(rng: np.random.Generator, frames: int) -> Iterator[Frame]:
    """Objects of two classes that cross, turn, hide, leave the image and come back."""
    count = int(rng.integers(3, 15))
    places = rng.uniform((-50, -50), (SIZE[1], SIZE[0]), (count, 2))
    sizes = rng.uniform((15, 40), (40, 100), (count, 2))
    speeds, labels = rng.normal(0, 5, (count, 2)), rng.integers(0, 2, count)
    hidden = np.zeros(count, int)
    for frame in range(frames):
        speeds += rng.normal(0, 1, (count, 2))
        places += speeds
        starts = rng.random(count) < 0.06
        hidden = np.where(starts, rng.integers(1, 9, count), hidden - 1)
        shown = hidden <= 0
        if frame % 17 == 11:  # nothing at all, or nothing that is good enough
            shown[:] = rng.random() < 0.5
        scores = rng.beta(5, 2, count) * (0.05 if frame % 17 == 11 else 1)
        boxes = np.concatenate([places, places + sizes], 1)
        boxes = (boxes + rng.normal(0, 2, boxes.shape))[shown]
        number = int(rng.integers(0, 3))  # false ones
        corners = rng.uniform(0, 400, (number, 2))
        boxes = np.concatenate([boxes, np.concatenate([corners, corners + 50], 1)])
        scores = np.concatenate([scores[shown], rng.uniform(0, 0.8, number)])
        order = rng.permutation(len(boxes))
        yield (
            boxes[order].astype(np.float32),
            scores[order].astype(np.float32),
            np.concatenate([labels[shown], rng.integers(0, 2, number)])[order],
        )


SCENES = dict(crowd=crowd, walkers=walkers)
OTHER_SETTINGS = dict(
    bytetrack=[
        dict(num_frames_retain=4, num_tentatives=1),
        dict(weight_iou_with_det_scores=False, num_tentatives=5),
        dict(obj_score_thrs=dict(high=0.4, low=0.2), init_track_thr=0.3),
        dict(match_iou_thrs=dict(high=0.4, low=0.3, tentative=0.6)),
    ],
    ocsort=[
        dict(num_frames_retain=4, num_tentatives=1, vel_delta_t=1),
        dict(weight_iou_with_det_scores=False, vel_consist_weight=0.9),
        dict(obj_score_thr=0.5, init_track_thr=0.2, vel_delta_t=5),
        dict(match_iou_thr=0.1, num_tentatives=2),
    ],
    sort=[dict(match_iou_thr=0.2), dict(obj_score_thr=0.1, num_frames_retain=1)],
)
VARIANTS = [
    pytest.param(name, options, id=f'{name}-{options}')
    for name, others in OTHER_SETTINGS.items()
    for options in ({}, *others)
]


@pytest.mark.parametrize('scene', SCENES)
@pytest.mark.parametrize(('name', 'options'), VARIANTS)
def test_tracks_as_mmdetection(name: str, options: dict, scene: str):
    """Videos one after the other: identities, boxes, and their order."""
    options = Config.fromfile(CONFIGS / f'{name}.py').tracker.to_dict() | options
    tracker, oracle = build_tracker(options), OfMMDetection(options)
    for seed in range(1 + EXAMPLES):
        frames = SCENES[scene](np.random.default_rng(seed), 24)
        for frame_id, frame in enumerate(frames):
            expected = oracle.track(frame_id, *frame)
            found = tracker.track(frame_id, *frame)
            for column, oracles in zip(found, expected, strict=True):
                assert column.dtype == oracles.dtype
                assert np.array_equal(column, oracles), (seed, frame_id)


@pytest.mark.parametrize('name', OTHER_SETTINGS)
def test_frames_that_are_left_out_are_missed(name: str):
    """Numbers of frames, not calls, say how long something was missing."""
    options = Config.fromfile(CONFIGS / f'{name}.py').tracker.to_dict()
    tracker, oracle = build_tracker(options), OfMMDetection(options)
    rng = np.random.default_rng(0)
    for frame_id, frame in enumerate(walkers(rng, 60)):
        if frame_id % 7 in (0, 1, 4):
            expected = oracle.track(frame_id, *frame)
            found = tracker.track(frame_id, *frame)
            assert np.array_equal(found[3], expected[3]), frame_id


def test_pairs_are_those_of_lap():
    rng = np.random.default_rng(0)
    for _ in range(300):
        costs = rng.uniform(0, 2, rng.integers(1, 13, 2)).astype(np.float32)
        costs[rng.random(costs.shape) < 0.3] += 1e6
        limit = float(rng.uniform(0, 1.5))
        _, _, owners = lap.lapjv(costs, extend_cost=True, cost_limit=limit)
        assert np.array_equal(match(costs, limit), owners)


@pytest.mark.parametrize('shape', [(0, 0), (0, 3), (3, 0)])
def test_nobody_is_paired_with_nobody(shape: tuple[int, int]):
    assert match(np.zeros(shape, np.float32), 0.5).tolist() == [-1] * shape[1]


def test_kalman_filters_are_those_of_mmdetection():
    """Four filters of two numbers each are the one of eight."""
    rng = np.random.default_rng(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        oracle = TASK_UTILS.build(dict(type='KalmanFilter'))
    corners = rng.uniform(0, 300, (5, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 200, (5, 2))], 1)
    measured = motion.measure(boxes)
    states = motion.begin(measured)
    expected = [oracle.initiate(x) for x in measured]
    for step in range(40):
        if step % 5 == 3:
            motion.stop_growing(states, np.arange(5) % 2 == 0)
            for mean, _ in expected[::2]:
                mean[7] = 0
        states = motion.predict(states)
        expected = [oracle.predict(*x) for x in expected]
        if step % 3:
            boxes = boxes + rng.normal(0, 3, boxes.shape)
            measured = motion.measure(boxes)
            states = motion.correct(states, measured)
            expected = [
                oracle.update(*x, z) for x, z in zip(expected, measured, strict=True)
            ]
        for state, (mean, covariance) in zip(states, expected, strict=True):
            np.testing.assert_allclose(state[:2].reshape(-1), mean, rtol=1e-9)
            blocks = np.block(
                [
                    [np.diag(state[2]), np.diag(state[3])],
                    [np.diag(state[3]), np.diag(state[4])],
                ]
            )
            np.testing.assert_allclose(blocks, covariance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('name', OTHER_SETTINGS)
def test_broken_detections_change_nothing(name: str):
    options = Config.fromfile(CONFIGS / f'{name}.py').tracker.to_dict()
    tracker, fresh = build_tracker(options), build_tracker(options)
    frames = [*walkers(np.random.default_rng(1), 6)]
    for frame_id, frame in enumerate(frames):
        boxes, scores, labels = frame
        for column in (boxes, scores):
            broken = column.copy()
            broken[-1] = np.nan
            columns = [broken if c is column else c for c in frame]
            with pytest.raises(ValueError, match=rf'NaN .* frame {frame_id} of the'):
                tracker.track(frame_id, *columns)
        found, expected = (t.track(frame_id, *frame) for t in (tracker, fresh))
        assert np.array_equal(found[3], expected[3])


@pytest.mark.parametrize('name', OTHER_SETTINGS)
def test_boxes_without_an_area_stop_nothing(name: str):
    """A detector that is not trained gives such boxes; others are tracked on."""
    options = Config.fromfile(CONFIGS / f'{name}.py').tracker.to_dict()
    tracker = build_tracker(options)
    good = np.array([[10, 10, 50, 90], [200, 10, 240, 90]], np.float32)
    flat = np.array([[80, 80, 80, 80], [90, 80, 95, 80], [3e38] * 4], np.float32)
    boxes = np.concatenate([flat, good])
    scores = np.array([0.99, 0.98, 0.97, 0.9, 0.8], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for frame_id in range(8):
            found = tracker.track(frame_id, boxes, scores, np.zeros(5, np.int64))
            places = found[0][:, 0].tolist()
            assert found[3][[places.index(10), places.index(200)]].tolist() == [3, 4]
