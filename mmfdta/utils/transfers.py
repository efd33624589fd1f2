# Copyright (c) mmfdta authors.
"""Copies between host and device with as few waits as possible; casts to float32."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# Numbers of n bytes must start at a multiple of n, and no type has more than 16.
_ALIGNMENT = 16


def to_device(
    tensors: Sequence[Tensor], device: torch.device | str | int
) -> list[Tensor]:
    """Copy tensors to a device, those of the host in one copy.

    The host does not wait: for a GPU they are packed into pinned memory.

    Args:
        tensors: Tensors of any types and shapes, without gradients.
        device: The device.

    Returns:
        The tensors on the device; separate parts of one buffer.
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
    copied = iter(_parts(packed.to(device, non_blocking=True), starts, here))
    return [
        next(copied)
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
    """Copy a tensor to the host, from a GPU into pinned memory; waits for the device.

    Args:
        tensor: A tensor without a gradient.

    Returns:
        The tensor on the CPU.
    """
    if tensor.device.type == 'cpu':
        return tensor
    pinned = tensor.device.type == 'cuda'
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pinned)
    return host.copy_(tensor)


def to_float32(value: Any) -> Any:
    """Convert tensors in half precision to float32, also inside containers.

    Args:
        value: A tensor, anything else, or dictionaries, lists and tuples of these.

    Returns:
        The converted value; anything else, including float64, does not change.
    """
    if isinstance(value, Tensor):
        is_half = value.is_floating_point() and value.element_size() < 4
        return value.float() if is_half else value
    if isinstance(value, dict):
        return {key: to_float32(part) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(to_float32(part) for part in value)
    return value
