# Copyright (c) mmfdta authors.
"""Matching against all permutations, and its corner cases."""

import itertools

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps
from mmengine.structures import InstanceData

from mmfdta.models import ClipMatcher
from mmfdta.models.detectors import ClipTargets, MatchedPairs

SIZE = (60, 80)


def _frame(num_boxes: int, generator: torch.Generator, num_classes: int = 3):
    corner = torch.rand(num_boxes, 2, generator=generator) * 0.5
    extent = 0.1 + 0.3 * torch.rand(num_boxes, 2, generator=generator)
    scale = torch.tensor([SIZE[1], SIZE[0]] * 2)
    sample = DetDataSample(metainfo=dict(img_shape=SIZE, batch_input_shape=(64, 96)))
    sample.gt_instances = InstanceData(
        bboxes=torch.cat([corner, corner + extent], dim=1) * scale,
        labels=torch.randint(0, num_classes, (num_boxes,), generator=generator),
        instances_ids=torch.arange(num_boxes),
    )
    return sample


def _pair_cost(logits, box, label, target) -> float:
    """Cost of one pair, from the definition."""
    p = logits[label].sigmoid()
    positive = 0.25 * (1 - p) ** 2 * -(p + 1e-8).log()
    negative = 0.75 * p**2 * -(1 - p + 1e-8).log()
    giou = bbox_overlaps(
        bbox_cxcywh_to_xyxy(box[None]), bbox_cxcywh_to_xyxy(target[None]), mode='giou'
    )
    l1 = (box - target).abs().sum()
    return float(2 * (positive - negative) + 5 * l1 - 2 * giou)


def test_equals_the_best_permutation():
    g = torch.Generator().manual_seed(0)
    frames = [_frame(n, g) for n in (3, 0, 2)]
    targets = ClipTargets.from_samples(frames)
    layers, queries = 2, 5
    logits = torch.randn(layers, 3, queries, 3, generator=g) * 2
    boxes = torch.rand(layers, 3, queries, 4, generator=g) * 0.5 + 0.1
    matches = ClipMatcher()(logits, boxes, targets)
    for layer, frame in itertools.product(range(layers), range(3)):
        num = targets.num_valid[frame]
        costs = [
            [
                _pair_cost(
                    logits[layer, frame, q],
                    boxes[layer, frame, q],
                    targets.labels[frame, m],
                    targets.boxes[frame, m],
                )
                for q in range(queries)
            ]
            for m in range(num)
        ]
        best = min(
            itertools.permutations(range(queries), num),
            key=lambda chosen: sum(costs[m][q] for m, q in enumerate(chosen)),
        )
        assert matches.query_idx[layer, frame].tolist() == [*best] + [-1] * (3 - num)
        for m, q in enumerate(best):
            giou = bbox_overlaps(
                bbox_cxcywh_to_xyxy(boxes[layer, frame, q][None]),
                bbox_cxcywh_to_xyxy(targets.boxes[frame, m][None]),
                mode='giou',
            )
            assert matches.quality[layer, frame, m] == pytest.approx(
                float(giou), abs=1e-5
            )


def test_more_boxes_than_queries():
    g = torch.Generator().manual_seed(0)
    targets = ClipTargets.from_samples([_frame(5, g)])
    matches = ClipMatcher()(
        torch.randn(1, 1, 3, 3, generator=g),
        torch.rand(1, 1, 3, 4, generator=g) * 0.4 + 0.2,
        targets,
    )
    matched = matches.query_idx[0, 0]
    assert sorted(matched[matched >= 0].tolist()) == [0, 1, 2]
    assert (matches.quality[0, 0][matched < 0] == -1).all()


def test_no_boxes_at_all():
    targets = ClipTargets.from_samples([_frame(0, torch.Generator())] * 2)
    matches = ClipMatcher()(torch.randn(2, 2, 3, 1), torch.rand(2, 2, 3, 4), targets)
    assert matches.query_idx.shape == (2, 2, 0)


# An infinite logit is a probability of 0 or 1.
@pytest.mark.parametrize(
    ('part', 'value'),
    [
        ('classes', torch.nan),
        ('boxes', torch.nan),
        ('boxes', torch.inf),
        ('boxes', -torch.inf),
    ],
)
def test_a_prediction_that_is_not_finite_is_matched(part: str, value: float):
    """So that it reaches a loss; the other frame is matched as always."""
    g = torch.Generator().manual_seed(0)
    targets = ClipTargets.from_samples([_frame(2, g), _frame(2, g)])
    logits = torch.randn(1, 2, 4, 3, generator=g)
    boxes = torch.rand(1, 2, 4, 4, generator=g) * 0.4 + 0.2
    expected = ClipMatcher()(logits, boxes, targets).on_host
    if part == 'classes':
        logits[0, 1, 2] = value
    else:
        boxes[0, 1, 2, 0] = value
    found = ClipMatcher()(logits, boxes, targets)
    assert torch.equal(found.on_host[:, 0], expected[:, 0])
    assert 2 in found.on_host[0, 1].tolist()
    assert len(set(found.on_host[0, 1].tolist())) == 2


def test_padding_mask_is_that_of_nearest_interpolation():
    targets = ClipTargets.from_samples([_frame(1, torch.Generator())])
    full = torch.ones(1, 1, 64, 96)
    full[..., : SIZE[0], : SIZE[1]] = 0
    for size in ((8, 12), (7, 11), (64, 96)):
        expected = torch.nn.functional.interpolate(full, size)[:, 0].bool()
        assert torch.equal(targets.padding_mask(size), expected)


def test_pairs_of_all_layers():
    query_idx = torch.tensor([[[4, -1], [0, 2]], [[1, 3], [-1, -1]]])
    pairs = MatchedPairs.from_index(query_idx, 'cpu')
    expected = [
        (layer, frame, box, int(query_idx[layer, frame, box]))
        for layer, frame, box in itertools.product(range(2), range(2), range(2))
        if query_idx[layer, frame, box] >= 0
    ]
    found = pairs.layer, pairs.frame, pairs.box, pairs.query
    assert [*zip(*(x.tolist() for x in found), strict=True)] == expected
    assert pairs.counts == [3, 2]


def test_targets_of_frames_with_and_without_identities():
    g = torch.Generator().manual_seed(0)
    frames = [_frame(n, g) for n in (2, 0, 3)]
    del frames[0].gt_instances.instances_ids
    targets = ClipTargets.from_samples(frames)
    assert targets.identities.tolist() == [[-1] * 3, [-1] * 3, [0, 1, 2]]
    assert targets.valid.tolist() == [[True, True, False], [False] * 3, [True] * 3]
    assert targets.num_valid == [2, 0, 3]
    scale = torch.tensor([SIZE[1], SIZE[0]] * 2)
    for frame, boxes, labels in zip(frames, targets.boxes, targets.labels, strict=True):
        gt = frame.gt_instances
        found = bbox_cxcywh_to_xyxy(boxes[: len(gt)]) * scale
        torch.testing.assert_close(found, gt.bboxes)
        assert torch.equal(labels[: len(gt)], gt.labels)
        assert not boxes[len(gt) :].any()
