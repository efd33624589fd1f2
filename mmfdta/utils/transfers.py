# Copyright (c) mmfdta authors.
"""Copies between host and device that wait as little as possible, and to float32."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# A type of n bytes begins at a multiple of n; none has more.
_ALIGNMENT = 16


def to_device(
    tensors: Sequence[Tensor], device: torch.device | str | int
) -> list[Tensor]:
    """Bring tensors to a device, those of the host in one copy.

    The host does not wait for it: they are packed into pinned memory where the device
    is a GPU.

    Args:
        tensors: Of any types and shapes, without gradients.
        device: Where to.

    Returns:
        The same on the device; parts of one buffer that share no bytes.
    """
    device = torch.device(device)
    if device.type == 'cpu':
        return [tensor.to(device) for tensor in tensors]
    here = [tensor for tensor in tensors if tensor.device.type == 'cpu']
    starts, size = [], 0
    for tensor in here:
        starts.append(size)
        size += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
    packed = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == 'cuda')
    for tensor, part in zip(here, _parts(packed, starts, here), strict=True):
        part.copy_(tensor)
    brought = iter(_parts(packed.to(device, non_blocking=True), starts, here))
    return [
        next(brought)
        if tensor.device.type == 'cpu'
        else tensor.to(device, non_blocking=True)
        for tensor in tensors
    ]


def _parts(packed: Tensor, starts: list[int], like: list[Tensor]) -> list[Tensor]:
    return [
        packed[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        for start, tensor in zip(starts, like, strict=True)
    ]


def to_host(tensor: Tensor) -> Tensor:
    """Bring a tensor to the host, from a GPU into pinned memory; waits for it.

    Args:
        tensor: Without a gradient.

    Returns:
        The same on the CPU.
    """
    if tensor.device.type == 'cpu':
        return tensor
    pinned = tensor.device.type == 'cuda'
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pinned)
    return host.copy_(tensor)


def to_float32(value: Any) -> Any:
    """Turn tensors in half precision to float32, in whatever they stand.

    Args:
        value: A tensor, anything else, or dictionaries, lists and tuples of these.

    Returns:
        The same, with everything else as it is, double precision too.
    """
    if isinstance(value, Tensor):
        is_half = value.is_floating_point() and value.element_size() < 4
        return value.float() if is_half else value
    if isinstance(value, dict):
        return {key: to_float32(part) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(to_float32(part) for part in value)
    return value
