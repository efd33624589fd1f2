# Copyright (c) mmfdta authors.
"""Whether weights fill a model exactly, and what is said if not."""

import pytest
import torch
from torch import nn

from mmfdta.checkpoints import (
    CheckpointError,
    CheckpointMismatchError,
    compare_weights,
    matching_weights,
)


def test_many_differences_are_counted():
    expected = {f'layer.{i}': (1,) for i in range(8)}
    (line,) = compare_weights({}, expected)
    assert line.startswith('8 missing: layer.0, ') and line.endswith('layer.4, ...')


def test_each_kind_of_difference_has_a_line():
    found, expected = {'a': (2,), 'b': (1,)}, {'a': (3,), 'c': (1,)}
    assert compare_weights(found, expected) == [
        '1 missing: c',
        '1 unknown: b',
        '1 of another shape: a (2,) instead of (3,)',
    ]


@pytest.mark.parametrize('content', [[torch.zeros(1)], {'epoch': 3}, {'model': {}}])
def test_files_without_weights_by_name_are_refused(content):
    with pytest.raises(CheckpointMismatchError, match='no weights'):
        matching_weights(nn.Linear(2, 1), content)


def test_weights_are_found_in_every_wrapper():
    model = nn.Linear(2, 1)
    weights = model.state_dict()
    prefixed = {f'module.{name}': value for name, value in weights.items()}
    for content in (
        weights,
        {'state_dict': prefixed, 'meta': {}},
        {'model': weights, 'epoch': 3},
    ):
        taken = matching_weights(model, content)
        assert list(taken) == ['weight', 'bias']
        assert taken['weight'].data_ptr() == weights['weight'].data_ptr()


def test_modules_are_taken_out_of_a_larger_model():
    larger = nn.ModuleDict({'detector': nn.Linear(2, 1), 'rest': nn.Linear(2, 2)})
    smaller = nn.ModuleDict({'detector': nn.Linear(2, 1)})
    content = {'state_dict': larger.state_dict()}
    taken = matching_weights(smaller, content, modules=['detector'])
    assert set(taken) == {'detector.weight', 'detector.bias'}
    with pytest.raises(CheckpointMismatchError, match='2 unknown: rest'):
        matching_weights(smaller, content)


def test_another_size_is_said_at_once():
    with pytest.raises(CheckpointMismatchError, match='another size: 2 of its 2') as no:
        matching_weights(nn.Linear(2, 3), nn.Linear(2, 4).state_dict())
    assert 'weight (4, 2) instead of (3, 2)' in str(no.value)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_not_finite_are_refused(value):
    weights = nn.Linear(2, 2).state_dict()
    weights['bias'][1] = value
    with pytest.raises(CheckpointError, match='1 of 2 .*not finite, bias first'):
        matching_weights(nn.Linear(2, 2), weights)


def test_parts_fill_what_the_checkpoint_does_not_have():
    model = nn.Linear(2, 1)
    content, other = (nn.Linear(2, 1).state_dict() for _ in range(2))
    taken = matching_weights(model, {'weight': content['weight']}, parts=other)
    assert torch.equal(taken['weight'], content['weight'])
    assert torch.equal(taken['bias'], other['bias'])
