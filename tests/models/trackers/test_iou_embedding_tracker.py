# Copyright (c) mmfdta authors.
"""The small tracker against brute force, and its rules one by one."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmfdta.models.trackers import IoUEmbeddingTracker


def sample(frame: int, boxes, embeddings, scores=None, labels=None) -> DetDataSample:
    data = DetDataSample(metainfo=dict(frame_id=frame))
    boxes = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    count = len(boxes)
    embeddings = torch.as_tensor(embeddings, dtype=torch.float32)
    data.pred_instances = InstanceData(
        bboxes=boxes,
        scores=torch.full((count,), 0.9) if scores is None else torch.tensor(scores),
        labels=torch.zeros(count, dtype=torch.int64)
        if labels is None
        else torch.tensor(labels),
        embeddings=embeddings.reshape(count, -1 if count else 2),
    )
    return data


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.prod(np.clip(high - low, 0, None))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4))
def test_the_best_assignment_is_taken(seed: int, before: int, after: int):
    rng = np.random.default_rng(seed)

    def draw(count):
        corner = rng.uniform(0, 40, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(10, 60, (count, 2))], 1)
        return boxes, rng.normal(size=(count, 3))

    (old, old_looks), (new, new_looks) = draw(before), draw(after)
    tracker = IoUEmbeddingTracker(weight=0.3, match_thr=-2.0)
    tracker.track(sample(0, old, old_looks))
    found = tracker.track(sample(1, new, new_looks)).instances_id.tolist()

    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    scores = 0.7 * unit(old_looks) @ unit(new_looks).T
    scores += 0.3 * np.array([[overlap(a, b) for b in new] for a in old])
    # A track may stay alone when there are more tracks than detections.
    options = list(range(before)) + [None] * max(0, after - before)
    best = max(
        itertools.permutations(options, after),
        key=lambda choice: sum(
            scores[i, j] for j, i in enumerate(choice) if i is not None
        ),
    )
    newborn = itertools.count(before)
    assert found == [next(newborn) if i is None else i for i in best]


LEFT, RIGHT = [0, 0, 10, 20], [100, 0, 110, 20]
A, B = [1.0, 0.0], [0.0, 1.0]


def test_embeddings_that_cannot_be_compared_are_named():
    tracker = IoUEmbeddingTracker()
    tracker.track(sample(0, [LEFT, RIGHT], np.eye(2)))
    broken = sample(1, [LEFT, RIGHT], [[1, 0], [np.nan, 1]])
    said = 'embeddings: found NaN .* 1 of 2 detections in frame 1 .* number 1'
    with pytest.raises(ValueError, match=said):
        tracker.track(broken)
    del broken.pred_instances.embeddings
    said = 'model.embeddings: IoUEmbeddingTracker compares .*PooledEmbeddings'
    with pytest.raises(ValueError, match=said):
        tracker.track(broken)


def test_looks_bring_back_who_was_away():
    tracker = IoUEmbeddingTracker(weight=0.2, miss_tolerance=3)
    assert tracker.track(sample(0, [LEFT, RIGHT], [A, B])).instances_id.tolist() == [
        0,
        1,
    ]
    for frame in (1, 2, 3):
        assert tracker.track(sample(frame, [RIGHT], [B])).instances_id.tolist() == [1]
    back = tracker.track(sample(4, [RIGHT, RIGHT], [A, B]))
    assert back.instances_id.tolist() == [0, 1]


@pytest.mark.parametrize(('similarity', 'expected'), [(0.96, 0), (0.98, 1)])
def test_an_embedding_moves_by_the_momentum(similarity: float, expected: int):
    """From A by a fifth to B: its cosine with A is 4 / 17 ** 0.5 = 0.970."""
    tracker = IoUEmbeddingTracker(weight=0.5, match_thr=0.4, momentum=0.8)
    tracker.track(sample(0, [LEFT], [A]))
    tracker.track(sample(1, [LEFT], [B]))
    tracker.match_thr = (1 + similarity) / 2
    found = tracker.track(sample(2, [LEFT], [A]))
    assert found.instances_id.tolist() == [expected]


def test_who_was_away_for_too_long_is_forgotten():
    tracker = IoUEmbeddingTracker(weight=0.2, miss_tolerance=3)
    tracker.track(sample(0, [LEFT, RIGHT], [A, B]))
    for frame in (1, 2, 3, 4):
        tracker.track(sample(frame, [RIGHT], [B]))
    back = tracker.track(sample(5, [LEFT, RIGHT], [A, B]))
    assert back.instances_id.tolist() == [2, 1]


def test_thresholds_decide_about_birth():
    tracker = IoUEmbeddingTracker(score_thr=0.3, newborn_thr=0.5)
    boxes = [LEFT, RIGHT, [50, 0, 60, 20]]
    looks = [A, B, [0.6, 0.8]]
    first = tracker.track(sample(0, boxes, looks, scores=[0.9, 0.4, 0.2]))
    assert first.instances_id.tolist() == [0]
    again = tracker.track(sample(1, boxes, looks, scores=[0.4, 0.6, 0.2]))
    assert again.instances_id.tolist() == [0, 1]
    assert again.scores.tolist() == pytest.approx([0.4, 0.6])


def test_classes_do_not_mix():
    tracker = IoUEmbeddingTracker(match_thr=-0.5)
    tracker.track(sample(0, [LEFT], [A], labels=[0]))
    found = tracker.track(sample(1, [LEFT], [A], labels=[1]))
    assert found.instances_id.tolist() == [1]


def test_frames_without_objects_and_new_videos():
    tracker = IoUEmbeddingTracker()
    for _ in range(2):
        assert len(tracker.track(sample(0, [], []))) == 0
        assert tracker.track(sample(1, [LEFT], [A])).instances_id.tolist() == [0]
        assert len(tracker.track(sample(2, [], []))) == 0
        assert tracker.track(sample(3, [LEFT], [A])).instances_id.tolist() == [0]
