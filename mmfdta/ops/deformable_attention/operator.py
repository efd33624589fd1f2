# Copyright (c) mmfdta authors.
"""`torch.ops.mmfdta.deformable_sampling`, one operator for every device.

Compilers, autograd and what wraps tensors see the operator alone. Nothing but its
arguments is kept for the backward pass.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .levels import LevelShapes, as_level_shapes
from .plain import plain_backward, plain_forward
from .sparse import sparse_backward, sparse_forward

# Way -> its forward and its backward pass. All compute in one type, float32 or float64.
WAYS: dict[str, tuple[Callable, Callable]] = {
    'sparse': (sparse_forward, sparse_backward),
    'plain': (plain_forward, plain_backward),
}


def sampling_ways(device: torch.device) -> list[str]:
    """Ways that work on a device, the one that is taken first."""
    return ['sparse', 'plain'] if device.type == 'cpu' else ['plain']


def deformable_sampling(
    value: Tensor,
    shapes: Sequence[Sequence[int]],
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    way: str = '',
) -> Tensor:
    """Weighted sums of bilinear samples of several levels, zero outside of them.

    Args:
        value: (B, S, H, D), S the sum of h * w over the L levels.
        shapes: (h, w) of each level.
        x: Columns in pixels of their level, 0 in the middle of the first one,
            float32, or float64 like the values, (B, Q, H, L, P).
        y: Rows in pixels, like x.
        weights: What samples are multiplied by, of any floating type, like x.
        way: One of `sampling_ways`; empty takes the first.

    Returns:
        (B, Q, H * D), of the values' type; computed in float32 at least.
    """
    dtype = torch.promote_types(value.dtype, torch.float32)
    levels = [size for shape in shapes for size in shape]
    return _operator(value, x.to(dtype), y.to(dtype), weights, levels, way)


@torch.library.custom_op('mmfdta::deformable_sampling', mutates_args=())
def _operator(
    value: Tensor,
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    shapes: Sequence[int],
    way: str = '',
) -> Tensor:
    levels = _check(value, x, y, weights, shapes)
    forward, _ = WAYS[way or sampling_ways(value.device)[0]]
    inputs = (t.to(x.dtype) for t in (value, x, y, weights))
    return forward(*inputs, levels).to(value.dtype)


@torch.library.custom_op('mmfdta::deformable_sampling_backward', mutates_args=())
def _backward_operator(
    grad_output: Tensor,
    value: Tensor,
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    shapes: Sequence[int],
    way: str = '',
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    levels = _check(value, x, y, weights, shapes)
    _, backward = WAYS[way or sampling_ways(value.device)[0]]
    inputs = (t.to(x.dtype) for t in (grad_output, value, x, y, weights))
    grads = backward(*inputs, levels)
    return grads[0].to(value.dtype), grads[1], grads[2], grads[3].to(weights.dtype)


def _check(
    value: Tensor, x: Tensor, y: Tensor, weights: Tensor, shapes: Sequence[int]
) -> LevelShapes:
    """Refuse arguments with which a kernel would read beyond its tensors."""
    levels = as_level_shapes(list(zip(shapes[::2], shapes[1::2], strict=True)))
    keys = sum(height * width for height, width in levels)
    found = tuple(value.shape), *(tuple(t.shape) for t in (x, y, weights))
    batch, _, heads, _ = value.shape
    points = batch, x.shape[1], heads, len(levels), x.shape[-1]
    expected = (batch, keys, heads, value.shape[-1]), points, points, points
    if found != expected:
        raise ValueError(
            f'deformable_sampling: value, x, y and weights are {found}, and levels '
            f'{levels} take {expected}'
        )
    return levels


@_operator.register_fake
def _fake(
    value: Tensor,
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    shapes: Sequence[int],
    way: str = '',
) -> Tensor:
    batch, queries, heads = x.shape[:3]
    return value.new_empty(batch, queries, heads * value.shape[-1])


@_backward_operator.register_fake
def _fake_backward(
    grad_output: Tensor,
    value: Tensor,
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    shapes: Sequence[int],
    way: str = '',
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grads = [t.new_empty(t.shape) for t in (value, x, y, weights)]
    return grads[0], grads[1], grads[2], grads[3]


def _setup_context(
    ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor
) -> None:
    *tensors, ctx.shapes, ctx.way = inputs
    ctx.save_for_backward(*tensors)


def _backward(
    ctx: torch.autograd.function.FunctionCtx, grad_output: Tensor
) -> tuple[Tensor | None, ...]:
    grads = _backward_operator(grad_output, *ctx.saved_tensors, ctx.shapes, ctx.way)
    return *grads, None, None


_operator.register_autograd(_backward, setup_context=_setup_context)
