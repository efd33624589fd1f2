# Copyright (c) mmfdta authors.
"""Deformable sampling by Triton kernels."""

import contextlib
from typing import Any

import torch
from torch import Tensor

from .levels import LevelShapes, level_starts, on_device

# Bytes of a pixel per thread, as many as it reads at once.
_READ = 16
_THREADS = 32  # of a warp


def triton_forward(
    value: Tensor,
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    centre: Tensor | None,
    shapes: LevelShapes,
) -> Tensor:
    """Sample tensors of any floating types; arguments as of `deformable_sampling`."""
    from .kernels import forward_kernel

    output = value.new_empty(*x.shape[:3], value.shape[-1])
    x, y, step = _evenly_spaced(x, y)
    centre = _centre(value, x, centre)
    inputs = value.contiguous(), x, y, weights.contiguous(), centre
    _launch(forward_kernel, 4, value.element_size(), inputs, (output,), shapes, step)
    return output.flatten(2)


def triton_backward(
    grad_output: Tensor,
    value: Tensor,
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    centre: Tensor | None,
    shapes: LevelShapes,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of value, x, y and weights.

    That of value is float32, or float64 like the value. Programs add to the same pixels
    in any order, so the last bits differ between calls.
    """
    from .kernels import backward_kernel

    centre = _centre(value, x, centre)
    grad_value = centre.new_zeros(value.shape)
    grad_x, grad_y, grad_weights = (t.new_empty(t.shape) for t in (x, y, weights))
    x, y, step = _evenly_spaced(x, y)
    tensors = value.contiguous(), x, y, weights.contiguous(), centre
    inputs = grad_output.contiguous(), *tensors
    grads = grad_value, grad_x, grad_y, grad_weights
    # Sums over channels and turning tiles into atomics need no barrier in one warp.
    _launch(backward_kernel, 1, centre.element_size(), inputs, grads, shapes, step)
    return grads


def _centre(value: Tensor, x: Tensor, centre: Tensor | None) -> Tensor:
    """Return the centre, zeros if there is none; kernels compute in its type."""
    if centre is not None:
        return centre.contiguous()
    dtype = torch.promote_types(value.dtype, torch.float32)
    return x.new_zeros(*x.shape[:2], x.shape[3], 2, dtype=dtype)


def _evenly_spaced(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, int]:
    """Make x and y readable in steps; pairs (x, y) in memory stay as they are."""
    if _is_every_second(x) and _is_every_second(y):
        return x, y, 2
    return x.contiguous(), y.contiguous(), 1


def _is_every_second(x: Tensor) -> bool:
    """Whether the numbers are at every second place of memory."""
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
        itemsize: Bytes of one number of the tensor that it reads or writes most.
        inputs: The tensors that it reads, except the levels.
        outputs: The tensors that it writes.
        shapes: (h, w) of each level.
        step: Stride of x and y, in numbers.
    """
    value, x, *_ = inputs[-5:]
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
