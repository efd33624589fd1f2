# Copyright (c) mmfdta authors.
"""Boxes in another form are told; real ones and bad trackers are left alone."""

import re
from dataclasses import replace

import numpy as np
import pytest

from mmfdta.structures.plausibility import describe_boxes, describe_pairs
from mmfdta.structures.tracks import Sequence, Tracks

SIZE = np.array([1280.0, 720.0])


def objects(seed: int, count: int = 6, frames: int = 15, speed: float = 4) -> Tracks:
    """Objects that move through an image of 1280x720."""
    rng = np.random.default_rng(seed)
    height = rng.uniform(40, 200, count)
    size = np.stack([height * rng.uniform(0.3, 1.2, count), height], axis=1)
    start, step = rng.random((count, 2)) * SIZE, rng.normal(0, speed, (count, 2))
    frame = np.repeat(np.arange(1, frames + 1), count)
    identity = np.tile(np.arange(count), frames)
    corner = start[identity] + frame[:, None] * step[identity]
    return Tracks.create(frame, identity, np.hstack([corner, size[identity]]))


def seen(gt: Tracks, seed: int, noise: float = 4, recall: float = 0.7) -> Tracks:
    """What a fair tracker finds of objects."""
    rng = np.random.default_rng(seed)
    found = gt.select(rng.random(len(gt)) < recall)
    xywh = found.xywh + rng.normal(0, noise, found.xywh.shape)
    return replace(found, xywh=np.hstack([xywh[:, :2], np.maximum(xywh[:, 2:], 4)]))


FORMS = {
    'corners x1,y1,x2,y2': lambda x, y, w, h: (x, y, x + w, y + h),
    'centres with': lambda x, y, w, h: (x + w / 2, y + h / 2, w, h),
    'foot points': lambda x, y, w, h: (x + w / 2, y + h, w, h),
    'top,left,height,width': lambda x, y, w, h: (y, x, h, w),
    'corners y1,x1,y2,x2': lambda x, y, w, h: (y, x, y + h, x + w),
    'left,top,aspect ratio': lambda x, y, w, h: (x, y, w / h, h),
    'centres with aspect ratio': lambda x, y, w, h: (x + w / 2, y + h / 2, w / h, h),
    'x1,x2,y1,y2': lambda x, y, w, h: (x, x + w, y, y + h),
    'fractions of the image': lambda x, y, w, h: (
        *(np.clip(x / 1280, 0, 1), np.clip(y / 720, 0, 1)),
        *(w / 1280, h / 720),
    ),
    'multiplied by [12][.0-9]* ': lambda *xywh: [value / 2 for value in xywh],
    'multiplied by 0.6[67]': lambda *xywh: [value * 1.5 for value in xywh],
    'multiplied by [12].* .x. and 1.1': lambda x, y, w, h: (
        *(x / 2, y / 1.125),
        *(w / 2, h / 1.125),
    ),
}


def reform(tracks: Tracks, form: str) -> Tracks:
    return replace(tracks, xywh=np.stack(FORMS[form](*tracks.xywh.T), axis=1))


def found_in(gt: Tracks, pred: Tracks) -> str | None:
    return describe_pairs([Sequence('s', 100, gt, pred)])


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('seed', range(3))
def test_results_in_another_form_are_told(form: str, seed: int):
    gt = objects(seed)
    pred = seen(gt, seed + 100)
    assert found_in(gt, pred) is None
    message = found_in(gt, reform(pred, form))
    assert message and message.startswith('s: ')
    assert re.search(form, message)


@pytest.mark.parametrize('form', list(FORMS)[:9])
def test_ground_truth_in_another_form_is_told(form: str):
    gt = objects(5)
    message = found_in(reform(gt, form), seen(gt, 6))
    side = 'one side' if form == 'top,left,height,width' else 'ground truth'
    assert message and side in message and form in message


@pytest.mark.parametrize('frames', [3, 12])
def test_few_boxes_and_sizes_that_are_alike_show_enough(frames: int):
    frame = np.repeat(np.arange(1, frames + 1), 3)
    identity = np.tile([1, 2, 3], frames)
    left = np.stack([50 + 120 * (identity - 1) + frame, 40 + 20 * identity], axis=1)
    gt = Tracks.create(frame, identity, np.hstack([left, [[40, 80]] * len(frame)]))
    pred = seen(gt, 1, noise=2, recall=1)
    assert found_in(gt, pred) is None
    for form in FORMS:
        assert found_in(gt, reform(pred, form)), form


def test_height_before_width_is_told_of_people():
    gt = objects(3)
    gt = replace(gt, xywh=gt.xywh * [1, 1, 0, 1] + gt.xywh[:, 3:] * [0, 0, 0.4, 0])
    odd = seen(gt, 4)
    odd = replace(odd, xywh=odd.xywh[:, [0, 1, 3, 2]])
    assert 'one side look like left,top,height,width' in found_in(gt, odd)


def test_small_sequences_are_looked_at_together():
    parts = [objects(seed, count=3, frames=2) for seed in range(6)]
    pairs = [(gt, seen(gt, 1, recall=1)) for gt in parts]
    assert (
        describe_pairs([Sequence(f's{i}', 2, *p) for i, p in enumerate(pairs)]) is None
    )
    wrong = [
        Sequence(f's{i}', 2, gt, reform(pred, 'centres with'))
        for i, (gt, pred) in enumerate(pairs)
    ]
    assert describe_pairs(wrong).startswith('s0 and 5 more: the boxes of the results')


def test_one_sequence_of_many_is_named():
    sequences = [
        Sequence(f's{seed}', 15, gt, seen(gt, seed))
        for seed in range(4)
        for gt in [objects(seed)]
    ]
    wrong = replace(sequences[2], pred=reform(sequences[2].pred, 'corners x1,y1,x2,y2'))
    sequences[2] = wrong
    assert describe_pairs(sequences).startswith(
        's2: the boxes of the results look like corners'
    )


def test_both_sides_in_corners_agree_and_are_told():
    gt = objects(8)
    both = [reform(side, 'corners x1,y1,x2,y2') for side in (gt, seen(gt, 9))]
    assert 'corners' in found_in(*both)


def test_decimal_commas_that_make_columns_of_their_own_are_told():
    """``54,1,60,5,40,8,78,9`` reads as x 54, y 1, w 60, h 5."""
    gt = objects(8)
    split = np.stack(np.divmod(np.round(np.abs(gt.xywh[:, :2]) * 10), 10), axis=2)
    odd = replace(gt, xywh=split.reshape(-1, 4))
    assert 'decimal commas' in found_in(gt, odd)
    assert describe_boxes(replace(gt, xywh=np.round(gt.xywh))) is None


def test_both_sides_in_fractions_are_scored():
    """The overlap of boxes does not depend on their unit."""
    gt = objects(8)
    assert found_in(*(reform(x, 'fractions of the image') for x in (gt, gt))) is None


BAD = {
    'other objects': lambda gt, rng: objects(int(rng.integers(1000, 2000))),
    'jitter': lambda gt, rng: shift(gt, rng.normal(0, 0.6, (len(gt), 2))),
    'too large': lambda gt, rng: grow(gt, 2.0),
    'too small': lambda gt, rng: grow(gt, 0.5),
    'late': lambda gt, rng: replace(gt, frame=gt.frame + 5),
    'frozen': lambda gt, rng: replace(gt, xywh=gt.xywh[np.arange(len(gt)) % 6]),
    'heads': lambda gt, rng: replace(gt, xywh=gt.xywh * [1, 1, 1, 0.3]),
    'aside': lambda gt, rng: replace(
        gt, xywh=gt.xywh + np.append(rng.normal(0, 60, 2), (0, 0))
    ),
    'few and wild': lambda gt, rng: replace(
        gt, xywh=gt.xywh * rng.lognormal(0, 0.4, gt.xywh.shape)
    ).select(rng.random(len(gt)) < 0.3),
}


def shift(tracks: Tracks, by: np.ndarray) -> Tracks:
    """Move boxes by parts of their size."""
    xywh = tracks.xywh.copy()
    xywh[:, :2] += by * xywh[:, 2:]
    return replace(tracks, xywh=xywh)


def grow(tracks: Tracks, factor: float) -> Tracks:
    """Make boxes larger about their centre."""
    xywh = tracks.xywh.copy()
    xywh[:, :2] -= xywh[:, 2:] * (factor - 1) / 2
    xywh[:, 2:] *= factor
    return replace(tracks, xywh=xywh)


@pytest.mark.parametrize('kind', BAD)
@pytest.mark.parametrize('speed', [0, 4, 20])
def test_bad_trackers_are_scored(kind: str, speed: float):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        gt = objects(seed, speed=speed)
        assert found_in(gt, BAD[kind](gt, rng)) is None


def test_one_object_that_comes_closer_is_no_corner():
    frame = np.arange(1, 40)
    xywh = np.stack([60 + frame, 40 + frame, 300 + frame, 400 + frame], axis=1)
    assert describe_boxes(Tracks.create(frame, [1] * 39, xywh)) is None
    assert describe_boxes(Tracks.empty()) is None


@pytest.mark.parametrize('seed', range(4))
def test_one_side_and_the_image_size_tell(seed: int):
    gt = objects(seed, speed=1)
    inside = (gt.xywh[:, :2] > 0).all(1) & (gt.xyxy[:, 2:] < SIZE).all(1)
    gt = gt.select(inside)
    shape = (720, 1280)
    assert describe_boxes(gt, shape) is None
    corners = describe_boxes(reform(gt, 'corners x1,y1,x2,y2'), shape)
    assert corners and 'look like corners' in corners
    fractions = describe_boxes(reform(gt, 'fractions of the image'), shape)
    assert fractions and '0..1' in fractions
