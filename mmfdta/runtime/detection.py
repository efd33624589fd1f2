# Copyright (c) mmfdta authors.
"""Converts the outputs of an exported detector to detections for a tracker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmfdta.structures.boxes import corners_and_areas

# Settings of MMCV's `batched_nms` and their defaults.
_NMS = dict(
    type='nms',
    iou_threshold=None,
    class_agnostic=False,
    offset=0,
    score_threshold=0.0,
    max_num=-1,
    split_thr=10000,
)


@dataclass
class Detections:
    """The detections of a frame.

    Attributes:
        bboxes: float32 (n, 4), xyxy in pixels of the original frame, not clipped.
        scores: float32 (n,), in 0..1.
        labels: int64 (n,), from 0.
        areas: float32 (n,), in square pixels; None if the tracker does not use them.
        embeddings: float32 (n, C); None without association.
    """

    bboxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    areas: np.ndarray | None = None
    embeddings: np.ndarray | None = None


def query_detections(
    outputs: Mapping[str, np.ndarray], original_shapes: Sequence[tuple[int, int]]
) -> list[Detections]:
    """Return all queries of a detector as detections, in their order.

    Args:
        outputs: ``boxes`` (F, Q, 4) cxcywh in 0..1 of the frame without padding,
            ``scores`` and ``labels`` (F, Q), and ``embeddings`` (F, Q, C) or none.
        original_shapes: Height and width of each of the F original frames.

    Returns:
        For each frame its Q queries.
    """
    embeddings = outputs.get('embeddings')
    found = []
    for i, shape in enumerate(original_shapes):
        bboxes, areas = corners_and_areas(outputs['boxes'][i], shape)
        scores, labels = outputs['scores'][i], outputs['labels'][i]
        features = None if embeddings is None else embeddings[i]
        found.append(Detections(bboxes, scores, labels, areas, features))
    return found


def yolox_detections(
    outputs: Mapping[str, np.ndarray],
    resized_shapes: Sequence[tuple[int, int]],
    original_shapes: Sequence[tuple[int, int]],
    test_cfg: Mapping[str, Any],
) -> list[Detections]:
    """Choose the boxes of YOLOX as MMDetection does.

    Args:
        outputs: ``boxes`` (F, N, 4) xyxy in pixels of the resized frame, ``scores`` and
            ``labels`` (F, N), of all N locations.
        resized_shapes: Height and width of each of the F frames, without padding.
        original_shapes: Height and width of each of the F original frames.
        test_cfg: ``score_thr`` and ``nms`` of the detector's config.

    Returns:
        For each frame the boxes that are kept, best score first.
    """
    threshold = np.float32(test_cfg['score_thr'])
    found = []
    shapes = zip(resized_shapes, original_shapes, strict=True)
    for i, ((height, width), (old_height, old_width)) in enumerate(shapes):
        scores = outputs['scores'][i]
        chosen = ~(scores < threshold)  # NaN stays: the tracker refuses it
        scores, labels = scores[chosen], outputs['labels'][i][chosen]
        factor = (width / old_width, height / old_height) * 2
        bboxes = outputs['boxes'][i][chosen] / np.array(factor, dtype=np.float32)
        kept = suppress(bboxes, scores, labels, test_cfg.get('nms'))
        found.append(Detections(bboxes[kept], scores[kept], labels[kept]))
    return found


def check_nms(nms: Mapping[str, Any] | None, key: str) -> None:
    """Refuse settings that :func:`suppress` does not support.

    Args:
        nms: Settings in a config.
        key: Their key in the config, for messages.

    Raises:
        ValueError: If the type is another, or a setting is unknown or missing.
    """
    if nms is None:
        return
    kind = nms.get('type', 'nms')
    if kind != 'nms':
        raise ValueError(
            f"{key}.type: found {kind!r}, expected 'nms', the only suppression that "
            'runs without PyTorch; set it, or track with the config itself'
        )
    unknown = sorted(set(nms) - set(_NMS))
    if unknown or nms.get('iou_threshold') is None:
        raise ValueError(
            f'{key}: found {dict(nms)}, expected iou_threshold and any of '
            f'{", ".join(name for name in _NMS if name != "iou_threshold")}'
        )


# The overlap of two empty boxes is 0 / 0; trackers refuse boxes that are not finite.
@np.errstate(invalid='ignore', divide='ignore')
def suppress(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    nms: Mapping[str, Any] | None,
) -> np.ndarray:
    """Non-maximum suppression, with exactly the result of MMCV's ``batched_nms``.

    Args:
        boxes: float32 (n, 4) xyxy.
        scores: float32 (n,).
        labels: int64 (n,).
        nms: Settings that :func:`check_nms` accepts; None only sorts.

    Returns:
        Indices of the boxes that are kept, int64 (k,), best score first. Boxes with
        equal scores keep their order; PyTorch guarantees no order for them.
    """
    if nms is None or not len(boxes):
        return _by_score(scores)
    nms = _NMS | dict(nms)
    if not nms['class_agnostic']:
        # Boxes of different classes are moved apart.
        apart = boxes.max() + np.float32(1)
        boxes = boxes + (labels.astype(np.float32) * apart)[:, None]
    settings = nms['iou_threshold'], nms['offset'], nms['score_threshold']
    # Many boxes are compared class by class, as in MMCV, even if it is class-agnostic.
    groups = [np.arange(len(boxes))]
    if len(boxes) >= nms['split_thr']:
        groups = [(labels == label).nonzero()[0] for label in np.unique(labels)]
    kept = [group[_greedy(boxes[group], scores[group], *settings)] for group in groups]
    left = kept[0]
    if len(kept) > 1:
        left = np.sort(np.concatenate(kept))
        left = left[_by_score(scores[left])]
    return left[: nms['max_num']] if nms['max_num'] > 0 else left


def _by_score(scores: np.ndarray) -> np.ndarray:
    return np.argsort(-scores, kind='stable')


def _greedy(
    boxes: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float,
    offset: int,
    score_threshold: float,
) -> np.ndarray:
    """Keep the best box, drop those that overlap it too much, and repeat."""
    order = _by_score(scores)
    if score_threshold > 0:
        order = order[scores[order] > np.float32(score_threshold)]
    boxes = boxes[order]
    shift, limit = np.float32(offset), np.float32(iou_threshold)
    areas = (boxes[:, 2] - boxes[:, 0] + shift) * (boxes[:, 3] - boxes[:, 1] + shift)
    kept = []
    left = np.arange(len(boxes))
    while len(left):
        best, left = left[0], left[1:]
        kept.append(order[best])
        top_left = np.maximum(boxes[best, :2], boxes[left, :2])
        bottom_right = np.minimum(boxes[best, 2:], boxes[left, 2:])
        extent = np.maximum(bottom_right - top_left + shift, np.float32(0))
        inter = extent[:, 0] * extent[:, 1]
        overlaps = inter / (areas[best] + areas[left] - inter)
        left = left[~(overlaps > limit)]
    return np.array(kept, dtype=np.int64)
