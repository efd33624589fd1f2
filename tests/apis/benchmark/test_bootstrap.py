# Copyright (c) mmfdta authors.
"""Intervals against the evaluation of data sets that are really put together."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from mmfdta.apis.benchmark.entries import Entry
from mmfdta.apis.benchmark.report import Report
from mmfdta.apis.benchmark.results import (
    METRICS,
    EntryResult,
    compare,
    draw_sequences,
)
from mmfdta.evaluation import Sequence, Settings, Tracks, evaluate

SEQUENCES, FRAMES, OBJECTS = 7, 12, 3


def boxes(rng, shake: float, swaps: float) -> Tracks:
    """Objects in a row, each frame shaken, identities sometimes swapped."""
    frame = np.repeat(np.arange(1, FRAMES + 1), OBJECTS)
    place = np.tile(np.arange(OBJECTS), FRAMES)
    xywh = np.stack([60.0 * place, 0.0 * place, 40 + 0 * place, 50 + 0 * place], 1)
    xywh[:, :2] += rng.normal(0, shake, (len(frame), 2))
    shift = np.repeat((rng.random(FRAMES) < swaps).cumsum(), OBJECTS)
    return Tracks.create(frame, (place + shift) % OBJECTS, xywh)


def tracker(seed: int, swaps: float) -> list[Sequence]:
    rng = np.random.default_rng(seed)
    truth = boxes(np.random.default_rng(0), 0, 0)
    return [
        Sequence(f's{i}', FRAMES, truth, boxes(rng, 1.0 + i, swaps * (i % 3)))
        for i in range(SEQUENCES)
    ]


@pytest.fixture(scope='module')
def pair():
    ours, theirs = tracker(1, 0.05), tracker(2, 0.12)
    settings = Settings('minidance')
    return ours, theirs, evaluate(ours, settings), evaluate(theirs, settings)


def scores(sequences: list[Sequence], chosen: list[int]) -> np.ndarray:
    """Evaluate a data set that holds the chosen sequences, some several times."""
    copies = [
        Sequence(f'{number}', FRAMES, sequences[i].gt, sequences[i].pred)
        for number, i in enumerate(chosen)
    ]
    found = evaluate(copies, Settings('minidance', ('HOTA',))).of_class('all')
    return np.array([found[metric].mean() for metric in METRICS])


def test_differences_of_sequences_are_those_of_the_scores_beside_them(tmp_path):
    """With two classes: both are the mean of the classes."""

    def with_class(tracks: Tracks) -> Tracks:
        return replace(tracks, label=np.where(tracks.xywh[:, 0] < 90, 1, 2))

    classes = dict(person=1, car=2)
    ours, theirs = (
        evaluate(
            [
                replace(one, gt=with_class(one.gt), pred=with_class(one.pred))
                for one in tracker(seed, swaps)
            ],
            Settings(classes=classes),
        )
        for seed, swaps in ((1, 0.05), (2, 0.3))
    )
    results = [
        EntryResult(Entry(name, results=tmp_path), evaluation)
        for name, evaluation in (('ours', ours), ('theirs', theirs))
    ]
    draws = draw_sequences(SEQUENCES, 20, seed=0)
    differences = dict(theirs=compare(theirs, ours, draws))
    report = Report(results, 'ours', differences, {}, {}, None)
    document = json.loads(report.json())
    for metric in METRICS:
        one, other = (
            [of['sequences'][f's{i}'][metric] for i in range(SEQUENCES)]
            for of in document['trackers']
        )
        found = document['differences']['theirs'][metric]['of_sequences']
        np.testing.assert_allclose(np.subtract(other, one), found, atol=1e-12)
        by_class = [ours.of_sequence('s0', name)[metric].mean() for name in classes]
        assert one[0] == pytest.approx(np.mean(by_class))
    assert ours.of_sequence('s0')['HOTA'].mean() != pytest.approx(one[0])


def test_draws_are_of_as_many_sequences():
    draws = draw_sequences(SEQUENCES, 500, seed=1)
    assert (draws.sum(axis=1) == SEQUENCES).all()
    np.testing.assert_allclose(draws.mean(axis=0), 1, atol=0.15)
    assert (draws == draw_sequences(SEQUENCES, 500, seed=1)).all()
    assert (draws != draw_sequences(SEQUENCES, 500, seed=2)).any()


def test_intervals_are_those_of_data_sets_put_together(pair):
    ours, theirs, our_scores, their_scores = pair
    draws = draw_sequences(SEQUENCES, 40, seed=3)
    found = compare(our_scores, their_scores, draws)
    drawn = []
    for counts in draws:
        chosen = [i for i, count in enumerate(counts) for _ in range(count)]
        drawn.append(scores(ours, chosen) - scores(theirs, chosen))
    whole = list(range(SEQUENCES))
    for i, metric in enumerate(METRICS):
        values = np.sort(np.array(drawn)[:, i])
        # Linear between order statistics, written out.
        for edge, share in ((found[metric].low, 0.025), (found[metric].high, 0.975)):
            place = share * (len(values) - 1)
            below = int(place)
            step = values[min(below + 1, len(values) - 1)] - values[below]
            assert edge == pytest.approx(values[below] + (place - below) * step)
        overall = scores(ours, whole)[i] - scores(theirs, whole)[i]
        assert found[metric].overall == pytest.approx(overall)
        single = [scores(ours, [j])[i] - scores(theirs, [j])[i] for j in whole]
        np.testing.assert_allclose(found[metric].of_sequences, single)


def test_intervals_agree_with_scipy_s_bootstrap(pair):
    """DetA of perfectly found objects is a ratio of sums: SciPy can resample it."""
    _, _, ours, theirs = pair
    columns = np.stack(
        [
            [e.counts['all'][name].hota for name in ours.sequences]
            for e in (ours, theirs)
        ]
    )
    tp, both = (
        np.array([[f(c) for c in row] for row in columns])
        for f in (lambda c: c.tp, lambda c: c.tp + c.fn + c.fp)
    )

    def statistic(index, axis=-1):
        index = index.astype(int)
        det_a = [
            tp[k][index].sum(axis - 1) / both[k][index].sum(axis - 1) for k in (0, 1)
        ]
        return (det_a[0] - det_a[1]).mean(-1)

    interval = stats.bootstrap(
        (np.arange(SEQUENCES),),
        statistic,
        method='percentile',
        n_resamples=4000,
        rng=np.random.default_rng(5),
    ).confidence_interval
    found = compare(ours, theirs, draw_sequences(SEQUENCES, 4000, seed=6))['DetA']
    width = interval.high - interval.low
    assert found.low == pytest.approx(interval.low, abs=0.1 * width)
    assert found.high == pytest.approx(interval.high, abs=0.1 * width)


def test_a_tracker_does_not_differ_from_itself(pair):
    _, _, ours, _ = pair
    same = compare(ours, ours, draw_sequences(SEQUENCES, 30, seed=0))
    for difference in same.values():
        assert (difference.low, difference.overall, difference.high) == (0, 0, 0)
