# Copyright (c) mmfdta authors.
"""Association as ONNX gives the scores that FDTA gives."""

import itertools

import numpy as np
import pytest
import torch
from recorded import Recorded
from small_fdta import VOCABULARY, build, small_config

from mmfdta.apis.export import AssociationGraph, operators
from mmfdta.models.trackers import TrajectoryHistory

TOLERANCE = 2e-6
WINDOW = 7  # of 8, one less is remembered


def model_of(kind: str):
    config = small_config()
    if kind == 'projected':  # MOTIP's parts on other channels, sigmoid scores
        config.temporal_adapter = config.identity_adapter = None
        config.loss_id = dict(type='IDLoss', use_focal=True)
        config.embedding_sharing = dict(
            projection=dict(out_channels=16, num_layers=2, norm=True)
        )
    model = build(config).eval()
    # A table of zeros would hide the distances in time.
    torch.nn.init.normal_(model.id_decoder.rel_pos_embeds)
    return model


@pytest.fixture(scope='module', params=['whole', 'projected'])
def recorded(request):
    return Recorded(AssociationGraph(model_of(request.param)).eval())


@pytest.mark.parametrize(
    ('frames', 'tracks', 'detections'),
    [*itertools.product((1, 2, WINDOW), (1, VOCABULARY), (1, 9)), (5, 3, 40)],
)
def test_scores_of_any_sizes_are_those_of_pytorch(recorded, frames, tracks, detections):
    example = recorded.graph.example(frames, tracks, detections)
    assert recorded.differences(example)['scores'] < TOLERANCE


def test_the_graph_is_what_the_tracker_asks(recorded):
    """FDTA's own function, on a history as its tracker keeps it."""
    model = recorded.graph.model
    example = recorded.graph.example(WINDOW, 4, 6)
    history = TrajectoryHistory(
        example['features'], example['missing'], example['words']
    )
    with torch.no_grad():
        expected = model.score_identities(history, example['embeddings'])
    feeds = {name: value.numpy() for name, value in example.items()}
    (found,) = recorded.session.run(['scores'], feeds)
    assert found.shape == (6, VOCABULARY + 1)
    np.testing.assert_allclose(found, expected.numpy(), atol=TOLERANCE)
    assert len(np.unique(found.argmax(1))) > 1 or found.std() > 1e-3


def test_what_is_missing_is_not_looked_at(recorded):
    example = recorded.graph.example(WINDOW, 4, 6)
    other = dict(example)
    noise = torch.randn_like(example['features'])
    other['features'] = torch.where(
        example['missing'][..., None], noise, example['features']
    )
    feeds = [
        {name: value.numpy() for name, value in inputs.items()}
        for inputs in (example, other)
    ]
    first, second = (recorded.session.run(['scores'], feed)[0] for feed in feeds)
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_operators_are_onnx_own(recorded):
    counts = operators(recorded.proto)
    assert not [name for name in counts if '.' in name]
    assert 'GridSample' not in counts
    assert counts['MatMul'] + counts['Gemm'] > 10
