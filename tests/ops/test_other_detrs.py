# Copyright (c) mmfdta authors.
"""DINO and two-stage Deformable DETR of MMDetection, with `accelerate`."""

import pytest
from case_other_detrs import difference


@pytest.mark.parametrize('name', ['dino', 'two-stage'])
def test_values_and_gradients_are_those_of_plain_modules(name):
    assert difference(name) < 1e-4


@pytest.mark.parametrize('name', ['dino', 'two-stage'])
def test_attention_reads_the_sizes_of_levels_once_per_forward_pass(
    name, simulated_cuda
):
    counts = simulated_cuda('case_other_detrs', 'waits', name=name)
    assert counts['operators']['deformable_sampling'] == 4
    # MMDetection has waits of its own, which mmfdta's detectors do without.
    own = {p: n for p, n in counts['waits'].items() if not p.startswith('mmdet/')}
    place = 'ops/deformable_attention/levels.py:read_level_shapes'
    assert own == {place: 1}, counts['table']
    copies = counts['blocking_copies']
    assert all(place.startswith('mmdet/') for place in copies), counts['table']
