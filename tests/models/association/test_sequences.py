# Copyright (c) mmfdta authors.
"""Training sequences against a loop over every place."""

import numpy as np
import torch
from mmengine.structures import BaseDataElement

from mmfdta.datasets import make_id_targets
from mmfdta.models.association import build_sequences


def _targets(seed: int, num_frames: int, num_ids: int) -> BaseDataElement:
    rng = np.random.default_rng(seed)
    ids = [
        rng.permutation(num_ids)[: rng.integers(1, num_ids + 1)]
        for _ in range(num_frames)
    ]
    made = make_id_targets(ids, 3, 8, 8, 0.5, 0.5, rng)
    return BaseDataElement(
        **{k: torch.from_numpy(v) for k, v in vars(made).items() if k != 'column_ids'}
    )


def test_equals_a_loop():
    frames, queries, boxes = 4, 9, 6
    torch.manual_seed(0)
    embeddings = torch.randn(2, frames, queries, 5)
    query_idx = torch.stack(
        [torch.randperm(queries)[:boxes] for _ in range(2 * frames)]
    ).view(2, frames, boxes)
    query_idx[0, 1, 0] = -1  # a box that no query was matched to
    targets = [_targets(0, frames, 6), _targets(1, frames, 3)]
    found = build_sequences(embeddings, query_idx, targets)
    width = max(t.unknown_id_masks.shape[-1] for t in targets)
    for b, target in enumerate(targets):
        for side in ('trajectory', 'unknown'):
            masks = getattr(found, f'{side}_masks')[b]
            features = getattr(found, f'{side}_features')[b]
            labels = getattr(found, f'{side}_labels')[b]
            given = {
                k: target.get(f'{side}_{k}')
                for k in ('id_masks', 'ann_idxs', 'id_labels')
            }
            groups, _, num_ids = given['id_masks'].shape
            assert masks.shape == (groups, frames, width)
            for g, t, n in np.ndindex(groups, frames, width):
                ann = int(given['ann_idxs'][g, t, n]) if n < num_ids else -1
                missing = n >= num_ids or bool(given['id_masks'][g, t, n])
                missing = missing or query_idx[b, t, ann] < 0
                assert bool(masks[g, t, n]) == bool(missing)
                if missing:
                    assert not features[g, t, n].any()
                else:
                    expected = embeddings[b, t, query_idx[b, t, ann]]
                    assert torch.equal(features[g, t, n], expected)
                    assert labels[g, t, n] == given['id_labels'][g, t, n]


def test_gradients_reach_the_embeddings_used():
    embeddings = torch.randn(1, 2, 4, 3, requires_grad=True)
    query_idx = torch.tensor([[[1], [2]]])
    element = _targets(0, 2, 1)
    sequences = build_sequences(embeddings, query_idx, [element])
    sequences.unknown_features.sum().backward()
    used = embeddings.grad[0].abs().sum(-1) > 0
    visible = (~element.unknown_id_masks).any(0)[:, 0]
    assert used[0].tolist() == [False, bool(visible[0]), False, False]
    assert used[1].tolist() == [False, False, bool(visible[1]), False]


def test_clips_without_objects():
    element = BaseDataElement(
        **{
            f'{side}_{field}': torch.zeros(2, 3, 0, dtype=dtype)
            for side in ('trajectory', 'unknown')
            for field, dtype in (
                ('id_labels', torch.int64),
                ('id_masks', torch.bool),
                ('ann_idxs', torch.int64),
            )
        }
    )
    empty = torch.zeros(1, 3, 0, dtype=torch.int64)
    sequences = build_sequences(torch.randn(1, 3, 4, 5), empty, [element])
    # One place that stands for nobody, so that every parameter takes part.
    assert sequences.trajectory_features.shape == (1, 2, 3, 1, 5)
    assert sequences.trajectory_masks.all()
    assert sequences.unknown_masks.all()
