# Copyright (c) mmfdta authors.
"""Tracklet-aware label assignment against all possible assignments."""

from itertools import permutations

import pytest
import torch
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps

from mmfdta.models.detectors import (
    ClipTargets,
    DetectorOutputs,
    TrackletMatcher,
    TrackletMatches,
    Tracklets,
)

LAYERS = 3


def _boxes(*shape: int) -> torch.Tensor:
    return torch.cat(
        [0.3 + 0.4 * torch.rand(*shape, 2), 0.1 + 0.2 * torch.rand(*shape, 2)], dim=-1
    )


def _targets(ids: list[int]) -> ClipTargets:
    """The second of two frames has these objects."""
    number = max(len(ids), 1)
    valid = torch.arange(number).expand(2, -1) < torch.tensor([[1], [len(ids)]])
    identities = torch.full((2, number), -1)
    identities[1, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
    return ClipTargets(
        boxes=_boxes(2, number),
        labels=torch.zeros(2, number, dtype=torch.int64),
        identities=identities,
        valid=valid,
        image_sizes=torch.full((2, 2), 100.0),
        num_valid=[1, len(ids)],
        batch_shape=(100, 100),
    )


def _match(before: list[int], ids: list[int]) -> tuple:
    outputs = DetectorOutputs(
        cls_scores=torch.randn(LAYERS, 1, len(before), 1),
        bbox_preds=_boxes(LAYERS, 1, len(before)),
        embeddings=torch.zeros(1, len(before), 4),
    )
    targets = _targets(ids)
    tracklets = Tracklets(torch.tensor(before), torch.rand(len(before)))
    matches = TrackletMatcher()(outputs, targets, targets, 1, tracklets)
    return outputs, targets, tracklets, matches


def _cost(outputs: DetectorOutputs, targets: ClipTargets, layer: int) -> torch.Tensor:
    """Costs (Q, M): focal 2, L1 5 and GIoU 2."""
    prob = outputs.cls_scores[layer, 0].sigmoid()
    positive = 0.25 * (1 - prob) ** 2 * -prob.log()
    negative = 0.75 * prob**2 * -(1 - prob).log()
    boxes, objects = outputs.bbox_preds[layer, 0], targets.boxes[1]
    distance = (boxes[:, None] - objects).abs().sum(-1)
    giou = bbox_overlaps(
        bbox_cxcywh_to_xyxy(boxes), bbox_cxcywh_to_xyxy(objects), mode='giou'
    )
    return 2 * (positive - negative) + 5 * distance - 2 * giou


def _best(cost: torch.Tensor, free: list[int], new: list[int]) -> dict[int, int]:
    """Object to query of the cheapest of all assignments."""
    choices = map(list, permutations(free, len(new)))
    best = min(choices, key=lambda queries: float(cost[queries, new].sum()))
    return dict(zip(new, best, strict=True))


@pytest.mark.parametrize(
    ('before', 'ids'),
    [
        ([-1] * 5, [7, 8, 9]),
        ([-1, -1, -1, -1, 8, 5], [9, 8, 7]),
        ([-1, -1, -1, 8, -1, 9], [9, 7, 3, 8]),
        ([-1, 4, 5, 6], [4, 5, 6]),
        ([-1, -1, 4], [11]),
        ([-1, 0, -1], [2, 0]),
    ],
)
def test_against_all_assignments(before: list[int], ids: list[int]):
    outputs, targets, tracklets, matches = _match(before, ids)
    free = [q for q, identity in enumerate(before) if identity < 0]
    new = [m for m, identity in enumerate(ids) if identity not in before]
    kept = {m: before.index(i) for m, i in enumerate(ids) if i in before}
    for layer in range(LAYERS):
        expected = kept | _best(_cost(outputs, targets, layer), free, new)
        assert dict(enumerate(matches.query_idx[layer].tolist())) == expected
    _check_state(before, ids, expected, outputs, targets, tracklets, matches)


def _check_state(
    before: list[int],
    ids: list[int],
    last: dict[int, int],
    outputs: DetectorOutputs,
    targets: ClipTargets,
    tracklets: Tracklets,
    matches: TrackletMatches,
) -> None:
    """Identities and overlaps follow the last layer; the lost keep theirs."""
    after, ious = list(before), tracklets.ious.tolist()
    for m, query in last.items():
        after[query] = ids[m]
        ious[query] = float(
            bbox_overlaps(
                bbox_cxcywh_to_xyxy(outputs.bbox_preds[-1, 0, query, None]),
                bbox_cxcywh_to_xyxy(targets.boxes[1, m, None]),
            )
        )
    assert matches.tracklets.identities.tolist() == after
    assert matches.tracklets.ious.tolist() == pytest.approx(ious, abs=1e-5)
    assert matches.num_lost == len({i for i in before if i >= 0} - set(ids))
    assert tracklets.identities.tolist() == before


def test_more_new_objects_than_free_queries():
    *_, matches = _match([5, -1, -1], [1, 2, 3, 5])
    for row in matches.query_idx.tolist():
        assert row[3] == 0
        assert sorted(row[:3]) == [-1, 1, 2]


def test_all_queries_taken():
    *_, matches = _match([5, 6], [1, 6])
    assert matches.query_idx.tolist() == [[-1, 1]] * LAYERS
    assert matches.num_lost == 1


def test_frame_without_objects():
    *_, tracklets, matches = _match([-1, 5, -1, 6], [])
    assert matches.query_idx.shape == (LAYERS, 0)
    assert matches.num_lost == 2
    assert torch.equal(matches.tracklets.identities, tracklets.identities)
    assert torch.equal(matches.tracklets.ious, tracklets.ious)


def test_tracklets_after_new():
    tracklets = Tracklets(torch.tensor([-1, 4, 7]), torch.tensor([0.0, 0.8, 0.6]))
    after = tracklets.after_new(2, torch.tensor([2, 0]))
    assert after.identities.tolist() == [-1, -1, 7, -1]
    assert after.ious.tolist() == pytest.approx([0, 0, 0.6, 0])
