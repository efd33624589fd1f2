# Copyright (c) mmfdta authors.
"""The assignment protocols against plain loops, ties included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from mmfdta.models.trackers import PROTOCOLS
from mmfdta.models.trackers.assignment import WordlessTracks


def object_max(scores: list, live: set, thr: float) -> list[int]:
    newborn = len(scores[0]) - 1 if scores else 0
    asks = [max(range(newborn + 1), key=lambda word: row[word]) for row in scores]
    given, words = set(), []
    for i, word in enumerate(asks):
        rivals = [scores[j][word] for j, other in enumerate(asks) if other == word]
        sure = scores[i][word]
        if word in live and sure >= thr and sure == max(rivals) and word not in given:
            given.add(word)
            words.append(word)
        else:
            words.append(newborn)
    return words


def hungarian(scores: list, live: set, thr: float) -> list[int]:
    if not scores:
        return []
    newborn = len(scores[0]) - 1
    cost = [[1 - p for p in row] + [1 - row[-1]] * (len(scores) - 1) for row in scores]
    words = [newborn] * len(scores)
    for i, word in zip(*linear_sum_assignment(np.array(cost)), strict=True):
        if word < newborn and word in live and scores[i][word] >= thr:
            words[i] = int(word)
    return words


def id_max(scores: list, live: set, thr: float) -> list[int]:
    if not scores:
        return []
    newborn = len(scores[0]) - 1
    picks = {}
    for word in range(newborn + 1):
        column = [row[word] for row in scores]
        picks.setdefault(column.index(max(column)), []).append((max(column), word))
    words = [newborn] * len(scores)
    for i, pickers in picks.items():
        for sure, word in pickers:
            if sure == max(p[0] for p in pickers) and sure >= thr and word in live:
                words[i] = word
    return words


PLAIN = {'object-max': object_max, 'hungarian': hungarian, 'id-max': id_max}


def both(protocol: str, scores: np.ndarray, live: np.ndarray, thr: float) -> tuple:
    expected = PLAIN[protocol](scores.tolist(), set(np.flatnonzero(live)), thr)
    return PROTOCOLS[protocol](scores, live, thr), np.array(expected, dtype=np.int64)


# Few different values make ties of every kind; 0.25 is the threshold itself.
TIED = st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75])


@pytest.mark.parametrize('protocol', PLAIN)
@given(st.data())
def test_equals_plain_loops(protocol: str, data: st.DataObject):
    num_dets, num_words = data.draw(st.integers(0, 6)), data.draw(st.integers(1, 5))
    element = data.draw(st.sampled_from([TIED, st.floats(0, 1, width=32)]))
    scores = data.draw(arrays(np.float32, (num_dets, num_words + 1), elements=element))
    live = data.draw(arrays(bool, num_words))
    found, expected = both(protocol, scores, live, 0.25)
    assert found.dtype == np.int64
    assert np.array_equal(found, expected)


@pytest.mark.parametrize('protocol', PLAIN)
def test_many_detections(protocol: str):
    rng = np.random.default_rng(0)
    logits = 6 * rng.normal(size=(1000, 51)).astype(np.float32)
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found, expected = both(protocol, scores, rng.random(50) < 0.8, 0.2)
    assert np.array_equal(found, expected)
    words = found[found < 50]
    assert len(np.unique(words)) == len(words) > 10


@pytest.mark.parametrize('protocol', PLAIN)
def test_threshold_is_inclusive_in_double_precision(protocol: str):
    """0.25 is accepted at 0.25, and the float32 number just below it is not."""
    live = np.ones(1, dtype=bool)
    scores = np.array([[0.25, 0.1]], dtype=np.float32)
    assert PROTOCOLS[protocol](scores, live, 0.25).tolist() == [0]
    scores[0, 0] = np.nextafter(np.float32(0.25), np.float32(0))
    assert PROTOCOLS[protocol](scores, live, 0.25).tolist() == [1]


def test_object_max_knows_no_second_best():
    scores = np.array([[0.7, 0.2, 0.1], [0.6, 0.35, 0.05]], dtype=np.float32)
    live = np.array([True, True])
    assert PROTOCOLS['object-max'](scores, live, 0.2).tolist() == [0, 2]
    assert PROTOCOLS['hungarian'](scores, live, 0.2).tolist() == [0, 1]
    assert PROTOCOLS['id-max'](scores, live, 0.2).tolist() == [0, 1]


@pytest.mark.parametrize(
    ('shift', 'cosine', 'found'),
    [
        (0, 1, 5),
        (20, 1, -1),  # the same embedding elsewhere
        (5, 1, 5),  # IoU 1/3
        (0, -0.1, -1),
        (5, 0.6, -1),  # 0.47 on average
        (5, 0.7, 5),  # 0.52
    ],
)
def test_a_track_without_a_word_needs_overlap_and_similarity(shift, cosine, found):
    tracks = WordlessTracks(max_missed=3)
    box = np.array([[0, 0, 10, 10]], np.float32)
    label, nothing = np.zeros(1, np.int64), np.zeros(0, np.int64)
    embedding = np.array([[2, 0]], np.float32)
    tracks.update(np.array([5]), box, embedding, label, nothing)
    seen = np.array([[cosine, (1 - cosine**2) ** 0.5]], np.float32)
    assert tracks.match(box + [shift, 0, shift, 0], 3 * seen, None).tolist() == [found]
    if found == 5:
        assert tracks.match(box, seen, label).tolist() == [found]
        assert tracks.match(box, seen, label + 1).tolist() == [-1]
