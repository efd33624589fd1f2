# Copyright (c) mmfdta authors.
"""Deformable sampling by Triton kernels."""

import contextlib
from typing import Any

import torch
from torch import Tensor

from .levels import LevelShapes, level_starts, on_device

# Bytes that a thread holds of a pixel, as many as it moves at once.
_READ = 16
_THREADS = 32  # of a warp


def triton_forward(
    value: Tensor, x: Tensor, y: Tensor, weights: Tensor, shapes: LevelShapes
) -> Tensor:
    """Sample; see `plain_forward`. Values and weights may be of any type."""
    from .kernels import forward_kernel

    output = value.new_empty(*x.shape[:3], value.shape[-1])
    x, y, step = _evenly_spaced(x, y)
    inputs = value.contiguous(), x, y, weights.contiguous()
    _launch(forward_kernel, 4, value.element_size(), inputs, (output,), shapes, step)
    return output.flatten(2)


def triton_backward(
    grad_output: Tensor,
    value: Tensor,
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    shapes: LevelShapes,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of value, x, y and weights, all of the type of x.

    Programs add to the same pixels in any order.
    """
    from .kernels import backward_kernel

    grad_value = x.new_zeros(value.shape)
    grad_x, grad_y, grad_weights = (x.new_empty(x.shape) for _ in range(3))
    x, y, step = _evenly_spaced(x, y)
    inputs = grad_output.contiguous(), value.contiguous(), x, y, weights.contiguous()
    grads = grad_value, grad_x, grad_y, grad_weights
    # Sums over channels and turning tiles into atomics need no barrier in one warp.
    _launch(backward_kernel, 1, x.element_size(), inputs, grads, shapes, step)
    return grads


def _evenly_spaced(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, int]:
    """Make x and y readable in steps; pairs (x, y) in memory stay as they are."""
    if _is_every_second(x) and _is_every_second(y):
        return x, y, 2
    return x.contiguous(), y.contiguous(), 1


def _is_every_second(x: Tensor) -> bool:
    """Whether numbers stand at every second place of memory."""
    distance = 2
    for size, stride in zip(x.shape[::-1], x.stride()[::-1], strict=True):
        if size != 1 and stride != distance:
            return False
        distance *= size
    return True


def _launch(
    kernel: Any,
    warps: int,
    itemsize: int,
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    shapes: LevelShapes,
    step: int,
) -> None:
    """Run a kernel.

    Args:
        kernel: One of `kernels.py`.
        warps: Warps of a program.
        itemsize: Bytes of the numbers that it moves most.
        inputs: Its tensors that it reads, but for the levels.
        outputs: Its tensors that it writes.
        shapes: (h, w) of each level.
        step: Step of x and y in memory.
    """
    value, x = inputs[-4], inputs[-3]
    batch, queries, heads, levels, points = x.shape
    sizes = ((*s, start) for s, start in zip(shapes, level_starts(shapes), strict=True))
    table = on_device(tuple(sizes), torch.int32, x.device)
    channels = value.shape[-1]
    width = 1 << (channels - 1).bit_length()
    block = max(1, _THREADS * warps * (_READ // itemsize) // width)
    # Triton starts kernels on the current device.
    with torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext():
        kernel[(batch * -(-queries // block) * heads,)](
            *inputs,
            table,
            *outputs,
            value.shape[1],
            queries,
            HEADS=heads,
            LEVELS=levels,
            POINTS=points,
            CHANNELS=channels,
            STEP=step,
            BLOCK=block,
            WIDTH=width,
            num_warps=warps,
            enable_fp_fusion=True,
        )
