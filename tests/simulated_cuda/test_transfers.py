# Copyright (c) mmfdta authors.
"""Packed copies: one for all tensors, from and to pinned memory."""

import torch
from device_fixtures import assert_budget

from mmfdta.utils.transfers import to_device, to_host


def test_tensors_of_all_kinds_in_one_copy(simulated_cuda):
    counts = simulated_cuda('case_transfers', 'there_and_back')
    assert_budget(counts, waits={}, blocking_copies={}, pageable_copies={})
    assert counts['operators'] == {'_to_copy': 1}


def test_on_a_cpu_nothing_is_copied():
    tensors = [torch.rand(3), torch.arange(4)]
    for found, given in zip(to_device(tensors, 'cpu'), tensors, strict=True):
        assert found is given
    assert to_host(tensors[0]) is tensors[0]
