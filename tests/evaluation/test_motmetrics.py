# Copyright (c) mmfdta authors.
"""A second opinion: where motmetrics defines a score alike, it agrees.

Where its definitions depart from the official ones, which
docs/evaluation_reference.md lists, the tests show on which side we are.
"""

import warnings

import motmetrics
import numpy as np
import pytest

from mmfdta.evaluation import Sequence, Tracks, count_sequence

from .oracle import STYLES, official_data, random_scene

BOX = (10.0, 10.0, 5.0, 8.0)


def motmetrics_scores(sequence: Sequence, names: list[str]) -> dict:
    """Score with motmetrics, from distances, as its own IoU needs NumPy 1."""
    data = official_data(sequence)
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    frames = zip(
        data['gt_ids'], data['tracker_ids'], data['similarity_scores'], strict=True
    )
    for gt, pred, iou in frames:
        accumulator.update(gt, pred, np.where(iou >= 0.5, 1 - iou, np.nan))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        table = motmetrics.metrics.create().compute(accumulator, metrics=names)
    return table.iloc[0].to_dict()


def scores_of(gt_rows, pred_rows) -> tuple[Sequence, dict]:
    sides = []
    for rows in (gt_rows, pred_rows):
        table = np.array(rows, dtype=float)
        sides.append(Tracks.create(table[:, 0], table[:, 1], table[:, 2:]))
    last = max(side.frame.max() for side in sides)
    sequence = Sequence('s', int(last), *sides)
    return sequence, count_sequence(sequence).scores(of_sequence=True)


@pytest.mark.parametrize('style', STYLES, ids=lambda style: style.boxes)
def test_identity_scores(style):
    compared = 0
    for seed in range(25):
        sequence = random_scene(seed, style)
        if not len(sequence.gt) or not len(sequence.pred):
            continue  # a division by zero there, 0 by the official definition
        compared += 1
        theirs = motmetrics_scores(sequence, ['idf1', 'idp', 'idr'])
        ours = count_sequence(sequence).scores()
        for name in ('IDF1', 'IDP', 'IDR'):
            assert ours[name] == pytest.approx(theirs[name.lower()], abs=1e-9)
    assert compared > 10


def test_clear_where_no_match_is_contested():
    """Ten objects in lanes of their own, identities that change now and then."""
    rng = np.random.default_rng(0)
    frames, objects = 60, 10
    gt = [
        (t + 1, i, 3.0 * t, 40.0 * i, 30, 30)
        for t in range(frames)
        for i in range(objects)
    ]
    found = [row for row in gt if rng.random() < 0.9]
    pred = [
        (t, i + objects * int(rng.random() < 0.1), x + 2, y, w, h)
        for t, i, x, y, w, h in found
    ]
    pred += [(t + 1, 99, -500.0, -500.0, 9, 9) for t in range(0, frames, 7)]
    sequence, ours = scores_of(gt, pred)
    theirs = motmetrics_scores(
        sequence,
        ['num_switches', 'num_misses', 'num_false_positives', 'mota', 'motp', 'recall'],
    )
    assert ours['IDSW'] == theirs['num_switches'] > 50
    assert ours['CLR_FN'] == theirs['num_misses'] > 30
    assert ours['CLR_FP'] == theirs['num_false_positives'] == 9
    assert ours['MOTA'] == pytest.approx(theirs['mota'], abs=1e-9)
    assert ours['CLR_Re'] == pytest.approx(theirs['recall'], abs=1e-9)
    # Theirs is a distance, the official one an overlap.
    assert ours['MOTP'] == pytest.approx(1 - theirs['motp'], abs=1e-9)


def test_mostly_tracked_needs_more_than_80_percent():
    gt = [(t, 1, *BOX) for t in range(1, 6)]
    sequence, ours = scores_of(gt, gt[:4])
    theirs = motmetrics_scores(sequence, ['mostly_tracked', 'partially_tracked'])
    assert (theirs['mostly_tracked'], theirs['partially_tracked']) == (1, 0)
    assert (ours['MT'], ours['PT']) == (0, 1)


def test_fragments_ignore_frames_without_any_result():
    gt = [(t, 1, *BOX) for t in range(1, 6)]
    pred = [row for row in gt if row[0] != 3]
    sequence, ours = scores_of(gt, pred)
    assert motmetrics_scores(sequence, ['num_fragmentations']) == {
        'num_fragmentations': 1
    }
    assert ours['Frag'] == 0
    elsewhere = (3, 2, 500.0, 500.0, 9.0, 9.0)
    assert scores_of(gt, [*pred, elsewhere])[1]['Frag'] == 1


def test_matches_are_kept_over_one_frame_only():
    """After a gap the larger overlap wins; motmetrics keeps the old identity."""
    gt = [(t, 1, 0, 0, 10, 10) for t in (1, 2, 3)]
    away = (2, 7, 500, 500, 10, 10)
    pred = [(1, 5, 0, 0, 10, 10), away, (3, 5, 0, 0, 10, 6), (3, 6, 0, 0, 10, 10)]
    sequence, ours = scores_of(gt, pred)
    assert motmetrics_scores(sequence, ['num_switches']) == {'num_switches': 0}
    assert ours['IDSW'] == 1
