# Copyright (c) mmfdta authors.
"""Rows of instances, with columns on two devices."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmfdta.utils.instances import take_rows


@pytest.mark.parametrize('rows', [torch.tensor([2, 0]), torch.tensor([]).long()])
def test_rows_are_those_of_mmengine(rows):
    columns = dict(scores=torch.rand(3), boxes=torch.rand(3, 4), names=['a', 'b', 'c'])
    instances = InstanceData(metainfo=dict(frame=7), **columns)
    mask = torch.zeros(3, dtype=torch.bool).index_fill(0, rows, True)
    for index in (rows, mask):
        expected, found = instances[index], take_rows(instances, index)
        assert found.frame == 7 and found.names == expected.names
        for name in ('scores', 'boxes'):
            assert torch.equal(found[name], expected[name])


def test_columns_stay_where_they_are():
    instances = InstanceData(
        scores=torch.rand(3), embeddings=torch.rand(3, 5, device='meta')
    )
    found = take_rows(instances, torch.tensor([2, 0]))
    assert found.scores.tolist() == instances.scores[[2, 0]].tolist()
    assert found.embeddings.is_meta and found.embeddings.shape == (2, 5)
    only_there = InstanceData(embeddings=instances.embeddings)
    assert len(take_rows(only_there, torch.tensor([1]))) == 1
