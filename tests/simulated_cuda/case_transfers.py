# Copyright (c) mmfdta authors.
"""Copies to the simulated device and back."""

import torch
from simulated_device import CUDA, DEVICE, simulated_cuda

from mmfdta.utils.transfers import to_device, to_host


def there_and_back() -> dict:
    """Pack tensors of all kinds, one of them on the device, and bring them back."""
    given = [
        torch.tensor([True, False, True]),
        torch.rand(2, 3).t(),
        torch.arange(5),
        torch.zeros(0, 4),
        torch.tensor(7, dtype=torch.int16),
        torch.rand(3, dtype=torch.float64),
        torch.rand(4),
    ]
    with simulated_cuda():
        tensors = [*given[:-1], given[-1].to(CUDA)]
        with DEVICE.counting() as counts:
            there = to_device(tensors, CUDA)
            for tensor in there:
                assert tensor.device == CUDA
        there[0].fill_(False)  # the others do not change
        back = [to_host(tensor) for tensor in there[1:]]
        torch.cuda.synchronize()
    assert all(tensor.is_pinned() for tensor in back if tensor.numel())
    for found, expected in zip(back, given[1:], strict=True):
        assert found.equal(expected) and found.dtype == expected.dtype
    return counts.to_json()
