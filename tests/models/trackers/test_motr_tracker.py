# Copyright (c) mmfdta authors.
"""Birth and death of MOTR's tracks against a walk through single queries."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tracker_inputs import detected

from mmfdta.models import MOTRTracker

NEW = 4
SIZE = (200, 100)
# Scores around the thresholds 0.7 and 0.6, these included.
SCORES = st.sampled_from([0.0, 0.5, 0.59, 0.6, 0.65, 0.7, 0.71, 0.9])


class Walk:
    """One query after the other, with plain numbers."""

    def __init__(self, newborn: float, keep: float, tolerance: int) -> None:
        self.newborn, self.keep, self.tolerance = newborn, keep, tolerance
        self.tracks: list[list[int]] = []  # identity, misses
        self.next = 0

    def step(self, scores: list[float]) -> tuple[list[int], list[int]]:
        """Positions and identities of the tracks that live on."""
        queries = [[None, 0] for _ in range(NEW)] + self.tracks
        for query, score in zip(queries, scores, strict=True):
            if score >= self.newborn:
                query[1] = 0
                if query[0] is None:
                    query[0] = self.next
                    self.next += 1
            elif query[0] is not None and score < self.keep:
                query[1] += 1
                if query[1] == self.tolerance:
                    query[0] = None
        places = [i for i, query in enumerate(queries) if query[0] is not None]
        self.tracks = [queries[i] for i in places]
        return places, [track[0] for track in self.tracks]


def _track(tracker: MOTRTracker, scores: list[float], boxes: torch.Tensor = None):
    scores = torch.tensor(scores)
    if boxes is None:
        boxes = torch.tensor([0.5, 0.5, 0.4, 0.4]).expand(len(scores), 4)
    labels = torch.zeros(len(scores), dtype=torch.int64)
    frame = detected(boxes, scores, labels, SIZE)
    tracks = tracker.track(frame, renew_queries=lambda kept: kept)
    return frame, tracks


@given(st.data(), st.integers(1, 3), st.integers(1, 12))
def test_every_query_lives_as_it_should(data, tolerance: int, num_frames: int):
    tracker = MOTRTracker(0.7, 0.6, tolerance, det_thr=0.0, area_thr=0.0)
    walk = Walk(*torch.tensor([0.7, 0.6]).tolist(), tolerance)
    alive = 0
    for _ in range(num_frames):
        size = NEW + alive
        scores = data.draw(st.lists(SCORES, min_size=size, max_size=size))
        places, ids = walk.step(torch.tensor(scores).tolist())
        _, tracks = _track(tracker, scores)
        assert tracker.queries.tolist() == places
        assert tracker.ids.tolist() == ids
        assert tracker.misses.tolist() == [misses for _, misses in walk.tracks]
        expected = [i for p, i in zip(places, ids, strict=True) if scores[p] > 0]
        assert tracks.instances_id.tolist() == expected
        alive = len(places)


def test_the_released_thresholds():
    tracker = MOTRTracker()
    _track(tracker, [0.9, 0.1, 0.1, 0.1])
    for missed in range(1, 5):
        _, tracks = _track(tracker, [0.1] * NEW + [0.3])
        assert tracker.queries.tolist() == [NEW]
        assert tracker.misses.tolist() == [missed]
        assert not len(tracks.instances_id)
    _track(tracker, [0.1] * NEW + [0.3])
    assert not len(tracker.queries)


def test_a_new_sequence_counts_from_zero():
    tracker = MOTRTracker()
    _track(tracker, [0.9] * NEW)
    tracker.reset()
    _, tracks = _track(tracker, [0.1, 0.9, 0.8, 0.1])
    assert tracks.instances_id.tolist() == [0, 1]
    assert tracker.queries.tolist() == [1, 2]


def test_reported_are_confident_and_large():
    tracker = MOTRTracker(0.5, 0.4, 5, det_thr=0.6, area_thr=100.0)
    boxes = torch.tensor(
        [[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.1, 0.05], [0.2, 0.1, 0.6, 0.4], [0.5] * 4]
    )
    frame, tracks = _track(tracker, [0.9, 0.9, 0.55, 0.7], boxes)
    assert tracker.queries.tolist() == [0, 1, 2, 3]
    # The second has 10 x 10 pixels, no more than 100; the third a low score.
    assert tracks.instances_id.tolist() == [0, 3]
    np.testing.assert_allclose(
        tracks.bboxes.numpy(), [[40, 80, 60, 120], [25, 50, 75, 150]], rtol=1e-6
    )
    assert len(tracker.detections(frame.pred_instances)) == 3


def test_no_track_is_lost_to_bad_input():
    tracker = MOTRTracker()
    _track(tracker, [0.9, 0.9, 0.1, 0.1])
    with pytest.raises(ValueError, match='1 queries: expected one for each of the 2'):
        _track(tracker, [0.9])
    with pytest.raises(ValueError, match='scores: found NaN or infinity for 1 of 6'):
        _track(tracker, [0.1] * 5 + [float('nan')])
    assert tracker.ids.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r'tracker\.miss_tolerance'):
        MOTRTracker(miss_tolerance=0)
