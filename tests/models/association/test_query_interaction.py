# Copyright (c) mmfdta authors.
"""The query interaction module."""

import torch

from mmfdta.models import QueryInteraction
from mmfdta.models.detectors import TrackQueries

CHANNELS = 16


def _module() -> QueryInteraction:
    module = QueryInteraction(CHANNELS, num_heads=4, feedforward_channels=24)
    module.init_weights()
    return module.eval()


def _inputs(number: int) -> tuple[TrackQueries, torch.Tensor, torch.Tensor]:
    queries = TrackQueries(torch.randn(number, 2 * CHANNELS), torch.rand(number, 2))
    return queries, torch.randn(number, CHANNELS), torch.rand(number, 4)


def test_order_does_not_matter():
    module, (queries, states, boxes) = _module(), _inputs(6)
    order = torch.randperm(6)
    whole = module(queries, states, boxes)
    shuffled = module(queries[order], states[order], boxes[order])
    torch.testing.assert_close(shuffled.embeddings, whole.embeddings[order])
    assert torch.equal(shuffled.points, boxes[order, :2])


def test_tracks_see_each_other():
    module, (queries, states, boxes) = _module(), _inputs(3)
    whole = module(queries, states, boxes)
    pair = torch.tensor([0, 1])
    alone = module(queries[pair], states[pair], boxes[pair])
    assert (alone.embeddings - whole.embeddings[:2]).abs().min(0).values.max() > 1e-4


def test_points_carry_no_gradient_and_queries_do():
    module, (queries, states, boxes) = _module(), _inputs(3)
    for tensor in (queries.embeddings, states, boxes):
        tensor.requires_grad_()
    renewed = module(queries, states, boxes)
    assert not renewed.points.requires_grad
    renewed.embeddings.square().sum().backward()
    assert queries.embeddings.grad.any()
    assert states.grad.any()
    assert boxes.grad is None


def test_no_tracks():
    module, inputs = _module(), _inputs(0)
    assert len(module(*inputs)) == 0


def test_matrices_are_drawn_and_biases_kept():
    module = QueryInteraction(CHANNELS, num_heads=4, feedforward_channels=24)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    module.init_weights()
    for name, value in module.state_dict().items():
        if value.dim() > 1:
            bound = (6 / sum(value.shape)) ** 0.5
            assert 0.8 * bound < value.abs().max() <= bound, name
        else:
            assert torch.equal(value, before[name]), name
