# Copyright (c) mmfdta authors.
"""What stands between a tracker and its detector, with a clock that is set."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from mmfdta.apis.benchmark.detections import SequenceDetections
from mmfdta.apis.benchmark.detector_tap import LOWEST_SCORE, DetectorTap
from mmfdta.apis.benchmark.outcome import Timing


class SetClock:
    """Goes on when it is told to, and a hundredth when it is read."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        self.time += 0.01
        return self.time


class Detector(nn.Module):
    """Finds three boxes in three seconds."""

    def __init__(self, clock: SetClock) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.clock = clock
        self.asked = 0

    def predict(self, inputs, samples, rescale=True):
        self.clock.time += 3
        self.asked += 1
        samples[0].pred_instances = InstanceData(
            bboxes=torch.arange(12.0).view(3, 4) + self.asked,
            scores=torch.tensor([0.9, LOWEST_SCORE, 0.06]),
            labels=torch.tensor([0, 1, 2]),
        )
        return samples


class Tracker(nn.Module):
    def __init__(self, clock: SetClock) -> None:
        super().__init__()
        self.detector = Detector(clock)

    def track(self) -> InstanceData:
        samples = [DetDataSample()]
        return self.detector.predict(torch.zeros(1), samples)[0].pred_instances


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def tracker(clock) -> Tracker:
    return Tracker(clock)


def test_the_detector_s_time_is_its_own(clock, tracker):
    tap = DetectorTap(tracker, clock)
    assert len(tracker.track()) == 3
    tracker.track()
    assert tap.calls == 2
    assert tap.seconds == pytest.approx(2 * 3.01)
    assert tap.aside == 0
    assert tap.columns is None


def test_what_is_shared_is_what_the_tracker_goes_on_with(clock, tracker):
    tap = DetectorTap(tracker, clock, shared=True)
    found = tracker.track()
    assert found.labels.tolist() == [0, 2]
    assert tap.seconds == pytest.approx(3.01)
    assert tap.aside == pytest.approx(0.01)
    for name in ('bboxes', 'scores', 'labels'):
        assert torch.equal(tap.columns[name], found.get(name))


def test_replaying_asks_nobody(clock, tracker, tmp_path):
    tap = DetectorTap(tracker, clock, shared=True)
    first, frames = [], []
    for _ in range(2):
        first.append(tracker.track())
        frames.append(tap.columns)
    shapes = dict(ori_shape=(4, 6), img_shape=(2, 3), scale_factor=(0.5, 0.5))
    seconds = np.arange(6.0).reshape(2, 3)
    path = tmp_path / 'deep' / 'sequence.npz'
    SequenceDetections(frames, seconds, shapes).save(path)
    kept = SequenceDetections.load(path)
    assert kept.shapes == shapes
    np.testing.assert_array_equal(kept.seconds, seconds)
    before = tap.seconds
    for columns, expected in zip(kept.frames, first, strict=True):
        tap.replayed = columns
        again = tracker.track()
        for name in ('bboxes', 'scores', 'labels'):
            assert torch.equal(again.get(name), expected.get(name))
            assert again.get(name).dtype == expected.get(name).dtype
    assert tracker.detector.asked == 2
    assert tap.seconds == before


def test_a_frame_without_detections_is_kept(tmp_path):
    empty = dict(bboxes=torch.zeros(0, 4), scores=torch.zeros(0))
    full = dict(bboxes=torch.ones(2, 4), scores=torch.ones(2))
    detections = SequenceDetections([empty, full, empty], np.zeros((3, 3)), {})
    detections.save(tmp_path / 'a.npz')
    kept = SequenceDetections.load(tmp_path / 'a.npz')
    assert [len(frame['bboxes']) for frame in kept.frames] == [0, 2, 0]


def test_times_are_medians_over_frames():
    seconds = np.array([[1, 2, 3, np.nan], [1, 2, 5, np.nan], [1, 2, 30, np.nan]])
    timing = Timing.of(seconds)
    assert timing.stages['detector']['median'] == 5000
    assert timing.stages['detector']['mean'] == pytest.approx(38000 / 3)
    assert timing.stages['association']['median'] is None
    assert timing.frames_per_second == pytest.approx(1 / 8)
