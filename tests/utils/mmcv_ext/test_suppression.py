# Copyright (c) mmfdta authors.
"""MMCV's suppression of boxes against brute force, in whichever state this is.

`extension` is the stand-in and the extension in use. Where the operators are compiled,
these tests hold both against the same oracles and against each other.
"""

import importlib
import sys

import mmcv
import mmcv.ops
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmfdta.utils import mmcv_ext as operators
from mmfdta.utils.mmcv_ext import suppression

STAND_IN = operators.make_stand_in('for the tests')
IN_USE = sys.modules[operators.EXTENSION]


@pytest.fixture(params=[STAND_IN, IN_USE], ids=['stand-in', 'in use'])
def extension(request):
    return request.param


@st.composite
def scored_boxes(draw, distinct=False):
    """Boxes on a coarse grid, so that ties and exact thresholds come up."""
    count = draw(st.integers(0, 40))
    corner = st.integers(0, 12)
    boxes = [[draw(corner) for _ in range(4)] for _ in range(count)]
    boxes = np.array(boxes, np.float32).reshape(count, 4)
    boxes[:, 2:] += boxes[:, :2]
    if distinct:
        scores = draw(st.permutations(range(1, count + 1)))
    else:
        scores = [draw(st.integers(0, 5)) for _ in range(count)]
    return boxes, np.array(scores, np.float32) / 40


def overlap(a, b, offset):
    """Intersection over union of two boxes in float32; NaN for two empty ones."""
    one = np.float32(offset)
    width = max(np.float32(0), min(a[2], b[2]) - max(a[0], b[0]) + one)
    height = max(np.float32(0), min(a[3], b[3]) - max(a[1], b[1]) + one)
    areas = [(c[2] - c[0] + one) * (c[3] - c[1] + one) for c in (a, b)]
    with np.errstate(invalid='ignore', divide='ignore'):
        return width * height / (areas[0] + areas[1] - width * height)


def brute_force_nms(boxes, scores, threshold, offset=0):
    kept = []
    # The order of equal scores is PyTorch's sort's, in the compiled operator too.
    for index in torch.from_numpy(scores).sort(0, descending=True)[1].tolist():
        if not any(
            overlap(boxes[index], boxes[k], offset) > np.float32(threshold)
            for k in kept
        ):
            kept.append(index)
    return kept


@given(
    scored_boxes(), st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.7, 1.0]), st.booleans()
)
@pytest.mark.parametrize('implementation', [STAND_IN, IN_USE])
def test_nms_keeps_what_brute_force_keeps(implementation, case, threshold, inclusive):
    boxes, scores = case
    kept = implementation.nms(
        torch.from_numpy(boxes), torch.from_numpy(scores), threshold, int(inclusive)
    )
    assert kept.dtype == torch.int64
    assert kept.tolist() == brute_force_nms(boxes, scores, threshold, int(inclusive))


@given(scored_boxes(), st.sampled_from([0.25, 0.5]))
def test_nms_in_many_blocks_keeps_the_same(case, threshold):
    boxes, scores = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suppression, 'MAX_PAIRS', 60)
        kept = suppression.nms(
            torch.from_numpy(boxes), torch.from_numpy(scores), threshold, 0
        )
    assert kept.tolist() == brute_force_nms(boxes, scores, threshold)


def test_nms_of_a_long_chain_alternates():
    # Each box overlaps only its neighbours, so every second one has to go.
    left = torch.arange(200.0)
    boxes = torch.stack([left, left * 0, left + 1.5, left * 0 + 1], dim=1)
    kept = suppression.nms(boxes, -left, 0.1, 0)
    assert kept.tolist() == list(range(0, 200, 2))


def test_batched_nms_never_mixes_classes():
    rng = np.random.default_rng(1)
    boxes = rng.uniform(0, 40, (120, 4)).astype(np.float32)
    boxes[:, 2:] += boxes[:, :2]
    scores = rng.permutation(120).astype(np.float32) / 120
    classes = rng.integers(0, 3, 120)
    _, kept = mmcv.ops.batched_nms(
        torch.from_numpy(boxes),
        torch.from_numpy(scores),
        torch.from_numpy(classes),
        dict(type='nms', iou_threshold=0.3),
    )
    expected = []
    for label in range(3):
        rows = np.flatnonzero(classes == label)
        expected += rows[brute_force_nms(boxes[rows], scores[rows], 0.3)].tolist()
    assert kept.tolist() == sorted(expected, key=lambda index: -scores[index])


def test_nms_through_mmcv_takes_score_threshold_and_limit():
    boxes = np.array([[0, 0, 4, 4], [20, 0, 24, 4], [40, 0, 44, 4]], np.float32)
    scores = np.array([0.2, 0.9, 0.7], np.float32)
    dets, kept = mmcv.ops.nms(boxes, scores, 0.5, score_threshold=0.3)
    assert kept.tolist() == [1, 2]
    np.testing.assert_array_equal(dets[:, 4], scores[[1, 2]])
    assert mmcv.ops.nms(boxes, scores, 0.5, max_num=1)[1].tolist() == [1]


def brute_force_soft_nms(boxes, scores, threshold, sigma, min_score, method):
    """Soft-NMS as its paper tells it; for distinct scores."""
    scores, left, rows = scores.copy(), list(range(len(scores))), []
    while left:
        best = max(left, key=lambda index: scores[index])
        rows.append((best, scores[best]))
        left.remove(best)
        for index in left:
            iou = overlap(boxes[best], boxes[index], 0)
            if method == 'gaussian':
                scores[index] *= np.exp(-(iou * iou) / np.float32(sigma))
            elif iou >= np.float32(threshold):
                scores[index] *= 1 - iou if method == 'linear' else 0
        left = [index for index in left if not scores[index] < min_score]
    return rows


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('min_score', [1e-3, 0.2])
def test_soft_nms_is_the_papers(monkeypatch, extension, method, min_score):
    monkeypatch.setattr(
        importlib.import_module('mmcv.ops.nms'), 'ext_module', extension
    )
    rng = np.random.default_rng(2)
    boxes = rng.uniform(0, 20, (60, 4)).astype(np.float32)
    boxes[:, 2:] += boxes[:, :2]
    scores = rng.uniform(0.1, 1, 60).astype(np.float32)
    dets, kept = mmcv.ops.soft_nms(
        boxes, scores, 0.3, sigma=0.5, min_score=min_score, method=method
    )
    expected = brute_force_soft_nms(boxes, scores, 0.3, 0.5, min_score, method)
    assert kept.tolist() == [index for index, _ in expected]
    np.testing.assert_array_equal(dets[:, :4], boxes[kept])
    np.testing.assert_allclose(dets[:, 4], [s for _, s in expected], rtol=1e-5)


@given(scored_boxes(), st.sampled_from([0, 1, 2]), st.sampled_from([0.0, 0.05]))
def test_soft_nms_breaks_ties_as_the_operator_in_use(case, method, min_score):
    boxes, scores = (torch.from_numpy(array) for array in case)
    results = []
    for implementation in (STAND_IN, IN_USE):
        dets = torch.zeros(len(boxes), 5)
        kept = implementation.softnms(
            boxes, scores, dets, 0.3, 0.5, min_score, method, 0
        )
        results.append((kept.tolist(), dets[: len(kept)]))
    assert results[0][0] == results[1][0]
    torch.testing.assert_close(
        results[0][1], results[1][1], rtol=1e-6, atol=1e-7, equal_nan=True
    )
