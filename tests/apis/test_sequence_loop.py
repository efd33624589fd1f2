# Copyright (c) mmfdta authors.
"""The loop and the store, with a model and a clock that are set."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.structures import InstanceData
from torch import nn

from mmfdta.apis import sequence_loop
from mmfdta.apis.detection_store import (
    LOWEST_SCORE,
    DetectionStore,
    SequenceDetections,
)
from mmfdta.apis.sequence_loop import SequenceLoop, lowest_used_score
from mmfdta.datasets.sequences import Sequence

FRAMES = 5


class SetClock:
    """Goes on when it is told to, and a hundredth when it is read."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        self.time += 0.01
        return self.time


class Preprocessor(nn.Module):
    """Takes two seconds."""

    def __init__(self, clock: SetClock) -> None:
        super().__init__()
        self.clock = clock

    def forward(self, data: dict, training: bool) -> dict:
        self.clock.time += 2
        return dict(inputs=data['inputs']['img'][0][None], data_samples=[data['clip']])


class Tracker:
    """Numbers the detections that it is given."""

    def __init__(self) -> None:
        self.given: list[InstanceData] = []

    def track(self, found: InstanceData) -> InstanceData:
        self.given.append(found)
        return InstanceData(
            bboxes=found.bboxes, instances_id=torch.arange(len(found.bboxes))
        )


class Model(nn.Module):
    """Finds three boxes in three seconds a frame, and takes four for identities."""

    def __init__(self, clock: SetClock) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.data_preprocessor = Preprocessor(clock)
        self.tracker = Tracker()
        self.clock = clock
        self.asked: list[int] = []

    def detect(self, imgs, frames):
        assert imgs.shape == (len(frames), 3, 1, 1)
        for img, frame in zip(imgs, frames, strict=True):
            self.clock.time += 3
            self.asked.append(frame.frame_id)
            assert img[0, 0, 0] == frame.frame_id
            frame.pred_instances = InstanceData(
                bboxes=torch.arange(12.0).view(3, 4) + frame.frame_id,
                scores=torch.tensor([0.9, LOWEST_SCORE, 0.06]),
                labels=torch.tensor([0, 1, 2]),
                embeddings=torch.eye(3) + frame.frame_id,
            )
        return frames

    def associate(self, frame, tracker=None):
        self.clock.time += 4
        tracker = self.tracker if tracker is None else tracker
        frame.pred_track_instances = tracker.track(frame.pred_instances)
        return frame

    def forward(self, inputs, data_samples, mode):
        assert mode == 'predict'
        frames = [frame for clip in data_samples for frame in clip]
        for frame in self.detect(inputs.flatten(0, 1), frames):
            self.associate(frame)
        return data_samples


class Predicting(nn.Module):
    """The same behind `predict` alone."""

    def __init__(self, clock: SetClock) -> None:
        super().__init__()
        self.inner = Model(clock)
        self.data_preprocessor, self.tracker = self.inner.data_preprocessor, None

    def forward(self, **batch):
        return self.inner(**batch)


class Data:
    """One sequence of five frames whose pixels are their numbers; decodes in 1 s."""

    def __init__(self, clock: SetClock, folder) -> None:
        self.clock = clock
        names = np.array([f'{i}.jpg' for i in range(FRAMES)])
        for name in names:
            (folder / name).touch()
        self.sequences = [Sequence('a', str(folder), names, None)]
        self.pipeline = SimpleNamespace(transforms=[])
        self.decoded: list[tuple] = []

    def __getitem__(self, index) -> dict:
        self.clock.time += 1
        self.decoded.append(index.frames)
        clip = TrackDataSample()
        clip.video_data_samples = [
            DetDataSample(metainfo=dict(frame_id=i, ori_shape=(40 + i, 60)))
            for i in index.frames
        ]
        numbers = torch.tensor(index.frames, dtype=torch.float32)
        return dict(
            inputs=dict(img=numbers.view(-1, 1, 1, 1).expand(-1, 3, 1, 1)), clip=clip
        )


@pytest.fixture
def clock(monkeypatch) -> SetClock:
    clock = SetClock()
    monkeypatch.setattr(sequence_loop, 'Clock', lambda device: clock)
    # What collates has nothing to do with this.
    monkeypatch.setattr(
        sequence_loop,
        'pseudo_collate',
        lambda samples: dict(
            inputs=dict(img=[samples[0]['inputs']['img']]), clip=samples[0]['clip']
        ),
    )
    return clock


@pytest.fixture
def parts(clock, tmp_path):
    """Model, data and store."""
    model, data = Model(clock), Data(clock, tmp_path)
    return model, data, DetectionStore(tmp_path / 'store', model, data)


def columns(model: Model) -> list[list]:
    """What the tracker of a model was given."""
    names = ('bboxes', 'scores', 'labels', 'embeddings')
    return [[found.get(n).tolist() for n in names] for found in model.tracker.given]


def test_each_stage_gets_its_time(parts):
    model, data, _ = parts
    seconds = [spent for _, spent in SequenceLoop(model, data).track(0)]
    np.testing.assert_allclose(seconds, [[1.01, 2.01, 3.01, 4.01]] * FRAMES)
    assert data.decoded == [(i,) for i in range(FRAMES)]


def test_a_model_that_only_predicts_is_all_detector(clock, tmp_path):
    loop = SequenceLoop(Predicting(clock), Data(clock, tmp_path))
    frames = list(loop.track(0))
    assert len(frames) == FRAMES and loop.reads(0) is None
    for frame, seconds in frames:
        np.testing.assert_allclose(seconds, [1.01, 2.01, 7.01, np.nan])
        # Nothing is left out for it.
        assert len(frame.pred_track_instances.bboxes) == 3


def test_known_detections_need_no_pixel_and_no_detector(parts):
    model, data, store = parts
    loop = SequenceLoop(model, data, store)
    assert loop.reads(0) is None
    first = [(f.pred_track_instances, s) for f, s in loop.track(0)]
    given = columns(model)
    assert [len(rows[0]) for rows in given] == [2] * FRAMES
    assert given[1][2] == [0, 2]
    model.tracker.given.clear()
    model.asked.clear()
    data.decoded.clear()
    again = SequenceLoop(model, data, store)
    known = again.reads(0)
    for (tracks, seconds), (frame, later) in zip(
        first, again.track(0, known), strict=True
    ):
        assert torch.equal(frame.pred_track_instances.bboxes, tracks.bboxes)
        np.testing.assert_array_equal(later[:3], seconds[:3])
        assert later[3] == pytest.approx(4.01)
        assert frame.ori_shape == (40 + frame.frame_id, 60)
        assert frame.video_length == FRAMES and frame.sequence == 'a'
    assert columns(model) == given
    assert not model.asked and not data.decoded


def test_several_trackers_run_on_one_model(parts):
    model, data, store = parts
    loop = SequenceLoop(model, data, store)
    known = loop.detect(0)
    other = Tracker()
    for _ in loop.track(0, known, other):
        pass
    assert len(other.given) == FRAMES and not model.tracker.given


def test_batches_and_chosen_frames(parts):
    model, data, store = parts
    seen = []
    loop = SequenceLoop(model, data, store, batch_size=2)
    some = loop.detect(0, [4, 1, 3], lambda: seen.append(1))
    assert data.decoded == [(4, 1), (3,)] and len(seen) == 3
    assert some.frames[0].bboxes[0, 0] == 4
    # A part of a sequence is not kept, and a whole one says how it was made.
    assert loop.reads(0) is None
    (found,) = loop.detect_all()
    assert found.batch_size == 2 and len(found) == FRAMES
    np.testing.assert_allclose(found.seconds[0], [1.01 / 2, 2.01 / 2, 6.01 / 2])
    assert loop.reads(0) is not None
    data.decoded.clear()
    loop.detect_all()
    assert not data.decoded


def test_only_fitting_detections_are_read(parts):
    model, data, store = parts
    machine = dict(device='cpu', threads=1)
    (sequence,) = data.sequences
    SequenceLoop(model, data, store, machine=machine).detect(0)
    assert store.read(sequence) is not None
    assert store.read(sequence, batch_size=1, machine=machine) is not None
    assert store.read(sequence, batch_size=2) is None
    assert store.read(sequence, machine=dict(machine, threads=2)) is None
    assert store.read(sequence, lowest_score=0.01) is None
    assert [len(f) for f in store.read(sequence, 0.5).frames] == [1] * FRAMES
    # A lower limit serves a higher one.
    SequenceLoop(model, data, store, lowest_score=0.0).detect(0)
    assert [len(f) for f in store.read(sequence).frames] == [2] * FRAMES
    assert [len(f) for f in store.read(sequence, 0.0).frames] == [3] * FRAMES


def test_a_changed_image_or_a_broken_file_is_looked_at_again(parts, tmp_path):
    model, data, store = parts
    (sequence,) = data.sequences
    SequenceLoop(model, data, store).detect(0)
    (tmp_path / '3.jpg').write_text('x')
    assert store.read(sequence) is None
    SequenceLoop(model, data, store).detect(0)
    path = store.path(sequence)
    path.write_bytes(path.read_bytes()[:200])
    assert store.read(sequence) is None
    with pytest.raises(ValueError, match='expected the detections of a sequence'):
        SequenceDetections.load(path)


def test_frames_without_detections_and_odd_types_survive(tmp_path):
    counts = [0, 2, 0]
    frames = [
        InstanceData(
            bboxes=torch.rand(n, 4),
            scores=torch.rand(n).half(),
            labels=torch.arange(n),
            embeddings=torch.rand(n, 3).bfloat16(),
        )
        for n in counts
    ]
    shapes = [
        dict(ori_shape=(4, 6 + i), img_shape=(2, 3), scale_factor=(0.5, 0.25))
        for i in range(3)
    ]
    kept = SequenceDetections(frames, shapes, np.arange(9.0).reshape(3, 3), 0.0, 1)
    path = tmp_path / 'deep' / 'a.npz'
    kept.save(path)
    found = SequenceDetections.load(path)
    assert found.shapes == shapes
    np.testing.assert_array_equal(found.seconds, kept.seconds)
    for one, other in zip(found.frames, frames, strict=True):
        for name in ('bboxes', 'scores', 'labels', 'embeddings'):
            assert one.get(name).dtype == other.get(name).dtype
            assert torch.equal(one.get(name), other.get(name)), name


def test_detections_of_queries_come_back_in_their_order(parts):
    """Whoever sorts says where each came from."""
    model, data, store = parts
    inner = model.detect

    def sort_by_score(imgs, frames):
        for frame in inner(imgs, frames):
            frame.pred_instances = frame.pred_instances[torch.tensor([2, 0, 1])]
            frame.pred_instances.queries = torch.tensor([2, 0, 1])
        return frames

    model.detect = sort_by_score
    loop = SequenceLoop(model, data, store, lowest_score=0.0)
    list(loop.track(0))
    assert columns(model)[0][2] == [2, 0, 1]
    known = loop.reads(0)
    assert known.frames[0].labels.tolist() == [0, 1, 2]
    assert 'queries' not in known.frames[0]


def test_the_lowest_score_that_a_tracker_uses():
    assert lowest_used_score(None) == LOWEST_SCORE
    assert lowest_used_score(SimpleNamespace(det_thr=0.3)) == LOWEST_SCORE
    assert lowest_used_score(SimpleNamespace(det_thr=0.0)) == 0.0
    thresholds = dict(high=0.6, low=0.01)
    assert lowest_used_score(SimpleNamespace(obj_score_thrs=thresholds)) == 0.01
