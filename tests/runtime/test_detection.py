# Copyright (c) mmfdta authors.
"""Boxes on arrays are MMDetection's, to the digit."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from mmcv.ops.nms import batched_nms

from mmfdta.models.detectors import DetectorOutputs
from mmfdta.runtime.detection import (
    check_nms,
    query_detections,
    suppress,
    yolox_detections,
)
from mmfdta.runtime.trackers import build_tracker


def random_boxes(count: int, seed: int, step: float = 0.0) -> tuple:
    """Crowded boxes of three classes; with a step, equal ones and empty ones too.

    No two scores are equal: PyTorch sorts those in any order.
    """
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (count, 2))
    extent = rng.uniform(0, 50, (count, 2))
    boxes = np.concatenate([corner, corner + extent], axis=1)
    if step:
        boxes = np.round(boxes / step) * step
    scores = (rng.permutation(count) + 1) / (count + 1)
    labels = rng.integers(0, 3, count)
    return boxes.astype(np.float32), scores.astype(np.float32), labels


def mmcv(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, nms) -> np.ndarray:
    tensors = map(torch.from_numpy, (boxes, scores, labels))
    return batched_nms(*tensors, nms and dict(nms))[1].numpy()


_ALL_CLASSES = dict(type='nms', iou_threshold=0.0, class_agnostic=True, split_thr=10)


@given(
    count=st.integers(1, 80),
    seed=st.integers(0, 2**31),
    step=st.sampled_from([0.0, 20.0]),
    nms=st.fixed_dictionaries(
        dict(type=st.just('nms'), iou_threshold=st.sampled_from([0.0, 0.5, 0.65, 1.0])),
        optional=dict(
            class_agnostic=st.booleans(),
            offset=st.integers(0, 1),
            score_threshold=st.sampled_from([0.0, 0.3, 0.5]),
            max_num=st.sampled_from([-1, 3]),
            split_thr=st.sampled_from([10, 1000]),
        ),
    ),
)
@example(10, 0, 0.0, _ALL_CLASSES)  # as many boxes as split_thr
@example(9, 0, 0.0, _ALL_CLASSES)
def test_suppression_is_mmcv_s(count, seed, step, nms):
    found = random_boxes(count, seed, step)
    kept = suppress(*found, nms)
    assert kept.dtype == np.int64
    np.testing.assert_array_equal(kept, mmcv(*found, nms))


def test_without_suppression_boxes_are_sorted():
    found = random_boxes(30, 0)
    kept = suppress(*found, None)
    np.testing.assert_array_equal(found[1][kept], np.sort(found[1])[::-1])


def test_no_box_is_no_box():
    assert len(suppress(*random_boxes(0, 0), dict(iou_threshold=0.5))) == 0


@pytest.mark.parametrize(
    ('nms', 'message'),
    [
        (dict(type='soft_nms', iou_threshold=0.3), "found 'soft_nms', expected 'nms'"),
        (dict(type='nms'), 'expected iou_threshold'),
        (dict(type='nms', iou_threshold=0.5, sigma=1), 'expected iou_threshold'),
    ],
)
def test_other_suppressions_are_refused(nms, message):
    with pytest.raises(ValueError, match=message) as error:
        check_nms(nms, 'model.detector.test_cfg.nms')
    assert str(error.value).startswith('model.detector.test_cfg.nms')
    assert '\n' not in str(error.value)


def test_queries_are_those_of_the_detector():
    torch.manual_seed(0)
    outputs = DetectorOutputs(
        torch.randn(1, 2, 5, 3), torch.rand(1, 2, 5, 4), torch.randn(2, 5, 8)
    )
    shapes = [(1080, 1920), (37, 99)]
    frames = [_Frame(shape) for shape in shapes]
    scores, labels = outputs.cls_scores[-1].sigmoid().max(-1)
    arrays = dict(
        boxes=outputs.bbox_preds[-1].numpy(),
        scores=scores.numpy(),
        labels=labels.numpy(),
        embeddings=outputs.embeddings.numpy(),
    )
    found = query_detections(arrays, shapes)
    for mine, theirs in zip(found, outputs.on_host(frames), strict=True):
        for name in ('bboxes', 'scores', 'labels', 'areas', 'embeddings'):
            np.testing.assert_array_equal(
                getattr(mine, name), theirs.get(name).numpy(), strict=True
            )
    del arrays['embeddings']
    assert query_detections(arrays, shapes)[1].embeddings is None


class _Frame:
    def __init__(self, shape: tuple[int, int]) -> None:
        self.ori_shape = shape


def test_yolox_boxes_below_the_threshold_are_dropped_before_the_others():
    """In pixels of the frame: a box is kept at the threshold itself."""
    boxes, _, labels = random_boxes(4, 0)
    scores = np.array([0.1, 0.5, 0.3, 0.299], np.float32)
    outputs = dict(boxes=boxes[None], scores=scores[None], labels=labels[None])
    test_cfg = dict(score_thr=0.3, nms=dict(type='nms', iou_threshold=1.0))
    (found,) = yolox_detections(outputs, [(60, 90)], [(120, 270)], test_cfg)
    np.testing.assert_array_equal(found.scores, scores[[1, 2]])
    np.testing.assert_array_equal(found.labels, labels[[1, 2]])
    expected = boxes[[1, 2]] * np.array([3, 2, 3, 2])
    np.testing.assert_allclose(found.bboxes, expected, rtol=1e-6)


def test_a_score_that_is_nan_reaches_the_tracker_which_refuses_it():
    boxes, _, labels = random_boxes(3, 0)
    scores = np.array([0.1, np.nan, 0.8], np.float32)
    outputs = dict(boxes=boxes[None], scores=scores[None], labels=labels[None])
    test_cfg = dict(score_thr=0.3, nms=dict(type='nms', iou_threshold=1.0))
    (found,) = yolox_detections(outputs, [(60, 90)], [(60, 90)], test_cfg)
    assert len(found.scores) == 2
    tracker = build_tracker(dict(type='ByteTracker'))
    with pytest.raises(ValueError, match='NaN or infinity for 1 of 2 .* frame 0'):
        tracker.track(0, found.bboxes, found.scores, found.labels)
