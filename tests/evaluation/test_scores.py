# Copyright (c) mmfdta authors.
"""Every score equals the official evaluation's."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfdta.evaluation import (
    Evaluation,
    Sequence,
    Settings,
    Tracks,
    count_sequence,
    evaluate,
    summarise,
)

from .oracle import (
    METRICS,
    STYLES,
    SceneStyle,
    largest_difference,
    official_combined,
    official_sequence,
    random_scene,
)

TOLERANCE = 1e-9
CROWD = SceneStyle('moving', max_objects=40, max_frames=6)
LONG = SceneStyle('moving', max_objects=6, max_frames=120)


def assert_equal(ours: dict, official: list[dict]) -> None:
    difference, name = largest_difference(ours, official)
    assert difference < TOLERANCE, f'{name} differs by {difference}'


def boxes(rows) -> Tracks:
    table = np.array(rows, dtype=float).reshape(-1, 6)
    return Tracks.create(table[:, 0], table[:, 1], table[:, 2:])


@pytest.mark.parametrize('style', [*STYLES, CROWD, LONG], ids=lambda s: repr(s)[11:-1])
def test_random_scenes(style):
    for seed in range(60):
        sequence = random_scene(seed, style)
        ours = count_sequence(sequence).scores(of_sequence=True)
        assert_equal(ours, official_sequence(sequence))


coordinates = st.one_of(st.integers(-3, 12), st.floats(-20, 20, width=16))
rows = st.tuples(
    *(st.integers(1, 5), st.integers(0, 5)), *(coordinates, coordinates) * 2
)
sides = st.lists(rows, max_size=20, unique_by=lambda row: row[:2])


def check_drawn(gt, pred) -> None:
    sequence = Sequence('drawn', 5, boxes(gt), boxes(pred))
    ours = count_sequence(sequence).scores(of_sequence=True)
    assert_equal(ours, official_sequence(sequence))


@settings(max_examples=300, deadline=None)
@given(gt=sides, pred=sides)
def test_any_rows(gt, pred):
    check_drawn(gt, pred)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(gt=sides, pred=sides)
def test_any_rows_for_long(gt, pred):
    check_drawn(gt, pred)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), style=st.sampled_from(STYLES))
def test_any_scene(seed, style):
    sequence = random_scene(seed, style)
    ours = count_sequence(sequence).scores(of_sequence=True)
    assert_equal(ours, official_sequence(sequence))


ROW = (10.0, 10.0, 5.0, 8.0)
CASES = {
    'nothing at all': ([], []),
    'no predictions': ([(1, 1, *ROW), (2, 1, *ROW)], []),
    'no ground truth': ([], [(1, 1, *ROW), (2, 1, *ROW)]),
    'never in the same frame': ([(1, 1, *ROW)], [(2, 1, *ROW)]),
    'no overlap': ([(1, 1, *ROW)], [(1, 1, 90.0, 90.0, 5.0, 5.0)]),
    'touching edges': ([(1, 1, 0, 0, 5, 5)], [(1, 1, 5, 0, 5, 5)]),
    'exactly half': ([(1, 1, 0, 0, 4, 2)], [(1, 1, 0, 0, 4, 4)]),
    'boxes without area': ([(1, 1, 3, 3, 0, 4)], [(1, 1, 3, 3, 0, 4)]),
    'negative size': ([(1, 1, 3, 3, -2, -4)], [(1, 1, 3, 3, -2, -4)]),
    'duplicate predictions': (
        [(t, 1, *ROW) for t in (1, 2, 3)],
        [(t, i, *ROW) for t in (1, 2, 3) for i in (7, 8)],
    ),
    'duplicates on both sides': (
        [(t, i, *ROW) for t in (1, 2, 3) for i in (1, 2)],
        [(t, i, *ROW) for t in (1, 2, 3) for i in ((7, 8) if t == 2 else (8, 7))],
    ),
    'swapped identities': (
        [(t, i, 20.0 * i, 0, 9, 9) for t in range(1, 9) for i in (1, 2)],
        [
            (t, i if t < 5 else 3 - i, 20.0 * i + 1, 0, 9, 9)
            for t in range(1, 9)
            for i in (1, 2)
        ],
    ),
    'identity lost and found': (
        [(t, 1, *ROW) for t in range(1, 9)],
        [(t, t // 4, *ROW) for t in range(1, 9) if t not in (3, 6)],
    ),
    'empty frames between': (
        [(t, 1, *ROW) for t in (1, 2, 6, 7)],
        [(t, 1, *ROW) for t in (2, 4, 6, 7)],
    ),
    'tracked in exactly 80 %': (
        [(t, 1, *ROW) for t in range(1, 6)],
        [(t, 1, *ROW) for t in range(1, 5)],
    ),
    'tracked in exactly 20 %': (
        [(t, 1, *ROW) for t in range(1, 6)],
        [(1, 1, *ROW), *((t, 2, 90, 90, 3, 3) for t in range(1, 6))],
    ),
    'kept although another overlaps more': (
        [(t, 1, 0, 0, 10, 10) for t in (1, 2)],
        [(1, 5, 0, 0, 10, 8), (2, 5, 0, 0, 10, 6), (2, 6, 0, 0, 10, 10)],
    ),
    'huge and tiny': (
        [(1, 1, -1e6, -1e6, 2e6, 2e6), (1, 2, 0.1, 0.1, 1e-9, 1e-9)],
        [(1, 1, 0.1, 0.1, 1e-9, 1e-9), (1, 2, -1e6, -1e6, 2e6, 2e6)],
    ),
}


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('frames', ['as many', 'empty frames follow'])
def test_special_cases(name, frames):
    gt, pred = (boxes(rows) for rows in CASES[name])
    last = max(gt.frame.max(initial=1), pred.frame.max(initial=1))
    length = int(last) + (3 if frames == 'empty frames follow' else 0)
    sequence = Sequence(name, length, gt, pred)
    ours = count_sequence(sequence).scores(of_sequence=True)
    assert_equal(ours, official_sequence(sequence))


def test_combined_sequences():
    for group in range(12):
        scenes = [
            random_scene(100 * group + i, STYLES[i % len(STYLES)], f's{i}')
            for i in range(6)
        ]
        counts = {scene.name: count_sequence(scene) for scene in scenes}
        ours = Evaluation({'all': counts}).of_class()
        official = official_combined([official_sequence(scene) for scene in scenes])
        assert_equal(ours, official)


def test_combined_classes():
    names = ('car', 'person', 'nothing')
    scenes = {
        'car': [random_scene(i, STYLES[3], f's{i}') for i in range(3)],
        'person': [random_scene(i + 10, STYLES[1], f's{i}') for i in range(3)],
        'nothing': [Sequence(f's{i}', 4, boxes([]), boxes([])) for i in range(3)],
    }
    counts = {
        name: {scene.name: count_sequence(scene) for scene in scenes[name]}
        for name in names
    }
    official = {
        name: official_combined([official_sequence(scene) for scene in scenes[name]])
        for name in names
    }
    evaluation = Evaluation(counts)
    by_metric = [{name: official[name][m] for name in names} for m in range(3)]
    assert_equal(
        evaluation.over_classes(),
        [
            metric.combine_classes_class_averaged(scores)
            for metric, scores in zip(METRICS, by_metric, strict=True)
        ],
    )
    assert_equal(
        evaluation.over_detections(),
        [
            metric.combine_classes_det_averaged(scores)
            for metric, scores in zip(METRICS, by_metric, strict=True)
        ],
    )


def test_perfect_tracker_scores_one():
    truth = random_scene(5, LONG).gt
    assert len(truth) > 100
    renamed = Tracks.create(truth.frame, truth.identity + 1000, truth.xywh)
    scores = summarise(count_sequence(Sequence('s', 120, truth, renamed)).scores())
    for name in ('HOTA', 'DetA', 'AssA', 'LocA', 'MOTA', 'MOTP', 'IDF1', 'IDP', 'IDR'):
        assert scores[name] == pytest.approx(1, abs=1e-12), name
    for name in ('IDSW', 'CLR_FP', 'CLR_FN', 'IDFP', 'IDFN'):
        assert scores[name] == 0, name


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), style=st.sampled_from(STYLES))
def test_identities_between_scores(seed, style):
    sequence = random_scene(seed, style)
    scores = count_sequence(sequence).scores()
    np.testing.assert_allclose(scores['HOTA'] ** 2, scores['DetA'] * scores['AssA'])
    for name in ('HOTA', 'DetA', 'AssA', 'DetRe', 'DetPr', 'AssRe', 'AssPr'):
        assert ((scores[name] >= 0) & (scores[name] <= 1 + 1e-12)).all(), name
    assert (np.diff(scores['HOTA_TP']) <= 0).all()
    assert (scores['HOTA_TP'] + scores['HOTA_FN'] == len(sequence.gt)).all()
    assert (scores['HOTA_TP'] + scores['HOTA_FP'] == len(sequence.pred)).all()
    assert scores['CLR_TP'] + scores['CLR_FN'] == len(sequence.gt)
    assert scores['IDTP'] + scores['IDFP'] == len(sequence.pred)
    # The best map of identities cannot explain more boxes than matching by frame.
    assert scores['IDTP'] <= scores['CLR_TP']
    tracks = scores['MT'] + scores['PT'] + scores['ML']
    assert tracks == len(np.unique(sequence.gt.identity))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_names_of_identities_do_not_matter(seed):
    sequence = random_scene(seed, STYLES[3])
    renamed = Tracks.create(
        sequence.pred.frame, 7 - 5 * sequence.pred.identity, sequence.pred.xywh
    )
    other = Sequence('s', sequence.num_frames, sequence.gt, renamed)
    ours = summarise(count_sequence(sequence).scores())
    assert summarise(count_sequence(other).scores()) == pytest.approx(ours, abs=1e-12)


def test_two_sequences_of_one_name_are_refused():
    sequence = random_scene(3, STYLES[0])
    with pytest.raises(ValueError, match='found 2 sequences named'):
        evaluate([sequence, sequence], Settings())


def test_families_alone():
    sequence = random_scene(3, STYLES[3])
    whole = count_sequence(sequence).scores()
    for family in ('HOTA', 'CLEAR', 'Identity'):
        part = count_sequence(sequence, (family,)).scores()
        assert part
        for name, value in part.items():
            np.testing.assert_array_equal(value, whole[name])


def test_memory_grows_with_rows_only():
    """An identity a box, and frame numbers of a broken file, need no room."""
    count = 20_000
    frame = np.arange(1, count + 1) * 10**8
    box = np.tile([5.0, 5.0, 10.0, 20.0], (count, 1))
    gt = Tracks.create(frame, np.arange(count), box)
    pred = Tracks.create(frame, np.arange(count)[::-1] + 7, box)
    tracemalloc.start()
    scores = summarise(count_sequence(Sequence('s', int(frame[-1]), gt, pred)).scores())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6
    assert scores['HOTA'] == scores['IDF1'] == scores['MOTA'] == 1
    assert scores['CLR_Frames'] == frame[-1]
