# Copyright (c) mmfdta authors.
"""`torch.ops.mmfdta.deformable_sampling`, one operator for every device.

Compilers, autograd and tensor subclasses see only the operator. Only its arguments are
kept for the backward pass.
"""

import functools
import importlib.util
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from mmengine.logging import print_log
from torch import Tensor

from .compiled import compiled_backward, compiled_forward, images_at_once, is_compiled
from .levels import LevelShapes, as_level_shapes
from .on_triton import triton_backward, triton_forward
from .plain import plain_backward, plain_forward
from .sparse import sparse_backward, sparse_forward


class _Way(NamedTuple):
    """An implementation of the operator.

    Attributes:
        forward: Function of value, x, y, weights and shapes.
        backward: Function of the output's gradient and the same arguments.
        mixed: It takes tensors of several types, and a centre. For the others all
            tensors are converted to float32 or float64, and the centre is added.
        repeats: Gradients are equal in each call, to the last bit.
    """

    forward: Callable
    backward: Callable
    mixed: bool = False
    repeats: bool = True


WAYS = {
    'sparse': _Way(sparse_forward, sparse_backward),
    'compiled': _Way(compiled_forward, compiled_backward, repeats=False),
    'triton': _Way(triton_forward, triton_backward, mixed=True, repeats=False),
    'plain': _Way(plain_forward, plain_backward),
}


def sampling_ways(
    device: torch.device, dtype: torch.dtype = torch.float32
) -> tuple[str, ...]:
    """Return the implementations that work on a device, the preferred one first.

    On a CPU, sparse products are preferred. On CUDA, it is MMCV's operator for float32
    if that is compiled; else, and for float16 and bfloat16, the Triton kernels; else
    plain PyTorch, with a warning.

    Args:
        device: Device of the tensors.
        dtype: Type of the values.
    """
    if device.type == 'cpu':
        return 'sparse', 'plain'
    if device.type != 'cuda':
        return ('plain',)
    found = _found_on(device)
    half = dtype in (torch.float16, torch.bfloat16)
    return *(reversed(found) if half else found), 'plain'


@functools.cache
def _found_on(device: torch.device) -> tuple[str, ...]:
    """Return those that are faster than plain PyTorch on a GPU; warn if none is."""
    compiled = ('compiled',) if is_compiled() else ()
    problem = _problem_of_triton(device)
    if not problem:
        return *compiled, 'triton'
    if not compiled:
        print_log(
            'Deformable attention uses plain PyTorch operations, which are slower: '
            f'Triton does not work here ({problem}). It needs the package triton, a C '
            "compiler and Python's headers (Debian: apt install gcc python3-dev).",
            logger='current',
            level=logging.WARNING,
        )
    return compiled


def _problem_of_triton(device: torch.device) -> str:
    """Why Triton does not work, or an empty string; it needs a C compiler, Python.h."""
    if importlib.util.find_spec('triton') is None:
        return 'not installed'
    try:
        value = torch.zeros(1, 1, 1, 1, device=device)
        point = value[..., None]
        triton_forward(value, point, point, point, None, ((1, 1),))
    except Exception as error:  # anything from a missing compiler to an old GPU
        return f'{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}'
    return ''


def deformable_sampling(
    value: Tensor,
    shapes: Sequence[Sequence[int]],
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    way: str = '',
    centre: Tensor | None = None,
) -> Tensor:
    """Weighted sums of bilinear samples of several levels, zero outside of them.

    Args:
        value: (B, S, H, D), S the sum of h * w over the L levels.
        shapes: (h, w) of each level.
        x: Columns in pixels of their level, 0 in the middle of the first one,
            (B, Q, H, L, P).
        y: Rows in pixels, like x.
        weights: Weights of the samples, of any floating type, like x.
        way: One of `sampling_ways`; empty chooses the first.
        centre: Points (x, y) that are added to x and y, (B, Q, L, 2). With it x and y
            may be float16 or bfloat16, as layers compute them under autocast, and are
            not converted.

    Returns:
        (B, Q, H * D), of the values' type; computed in float32 or float64.

    Raises:
        ValueError: If ``way`` is unknown, or shapes or types do not fit together.
    """
    if way and way not in WAYS:
        raise ValueError(f'way: found {way!r}, expected one of {", ".join(WAYS)}')
    dtype = _exact(value)
    levels = [size for shape in shapes for size in shape]
    if centre is None:
        x, y = x.to(dtype), y.to(dtype)
    else:
        centre = centre.to(dtype)
    return _operator(value, x, y, weights, levels, way, centre)


@torch.library.custom_op('mmfdta::deformable_sampling', mutates_args=())
def _operator(
    value: Tensor,
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    shapes: Sequence[int],
    way: str = '',
    centre: Tensor | None = None,
) -> Tensor:
    levels = _check(value, x, y, weights, shapes, centre)
    if x.numel() == 0 or value.numel() == 0:
        return _fake(value, x, y, weights, shapes).zero_()
    chosen = _choose(value, x, way)
    inputs = _taken(chosen, value, x, y, weights, centre)
    return chosen.forward(*inputs, levels).to(value.dtype)


@torch.library.custom_op('mmfdta::deformable_sampling_backward', mutates_args=())
def _backward_operator(
    grad_output: Tensor,
    value: Tensor,
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    shapes: Sequence[int],
    way: str = '',
    centre: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    levels = _check(value, x, y, weights, shapes, centre)
    inputs = value, x, y, weights
    if x.numel() == 0 or value.numel() == 0:
        grads = [t.new_zeros(t.shape) for t in inputs]
    else:
        chosen = _choose(value, x, way)
        if not chosen.repeats and torch.are_deterministic_algorithms_enabled():
            _refuse_determinism()
        taken = _taken(chosen, *inputs, centre)
        if not chosen.mixed:
            grad_output = grad_output.to(_exact(value))
        grads = chosen.backward(grad_output, *taken, levels)
        grads = [g.to(t.dtype) for g, t in zip(grads, inputs, strict=True)]
    return grads[0], grads[1], grads[2], grads[3]


def _taken(
    way: _Way,
    value: Tensor,
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    centre: Tensor | None,
) -> tuple[Tensor | None, ...]:
    """Return the tensors in the form that an implementation takes."""
    if way.mixed:
        return value, x, y, weights, centre
    dtype = _exact(value)
    if centre is not None:
        x = x + centre[:, :, None, :, None, 0]
        y = y + centre[:, :, None, :, None, 1]
    return value.to(dtype), x, y, weights.to(dtype)


def _exact(value: Tensor) -> torch.dtype:
    """Return the type for the computation, float32 or float64."""
    return torch.promote_types(value.dtype, torch.float32)


def _choose(value: Tensor, x: Tensor, way: str) -> _Way:
    """Return the implementation that is named, or the first for images of this size."""
    ways = [way] if way else sampling_ways(value.device, value.dtype)
    if ways[0] == 'compiled' and not way and images_at_once(value, x) == 0:
        ways = ways[1:]
    return WAYS[ways[0]]


def _refuse_determinism() -> None:
    """Report that gradients differ between calls, as PyTorch's operators do."""
    message = (
        'mmfdta::deformable_sampling_backward does not have a deterministic '
        "implementation, but you set 'torch.use_deterministic_algorithms(True)'. With "
        "'warn_only=True' this is a warning."
    )
    if not torch.is_deterministic_algorithms_warn_only_enabled():
        raise RuntimeError(message)
    warnings.warn(message, stacklevel=3)


def _check(
    value: Tensor,
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    shapes: Sequence[int],
    centre: Tensor | None,
) -> LevelShapes:
    """Refuse arguments with which a kernel would read outside its tensors."""
    levels = as_level_shapes(list(zip(shapes[::2], shapes[1::2], strict=True)))
    keys = sum(height * width for height, width in levels)
    batch, _, heads, channels = value.shape
    points: tuple[int, ...] = batch, x.shape[1], heads, len(levels), x.shape[-1]
    wanted = dict.fromkeys(('x', 'y', 'weights'), points)
    wanted['value'] = batch, keys, heads, channels
    wanted['centre'] = *points[:2], len(levels), 2
    given = {'value': value, 'x': x, 'y': y, 'weights': weights, 'centre': centre}
    for name, tensor in given.items():
        if tensor is not None and tuple(tensor.shape) != wanted[name]:
            raise ValueError(
                f'deformable_sampling: {name} is {tuple(tensor.shape)}, and levels '
                f'{levels} with the other tensors take {wanted[name]}'
            )
    dtype = _exact(value)
    exact = (x, y) if centre is None else (centre,)
    if (
        any(t.dtype != dtype for t in exact)
        or torch.promote_types(x.dtype, dtype) != dtype
    ):
        raise ValueError(
            f'deformable_sampling: x, y and centre are {x.dtype}, {y.dtype} and '
            f'{None if centre is None else centre.dtype}, and values of {value.dtype} '
            f'take {dtype}; with a centre x and y may be less exact'
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
    centre: Tensor | None = None,
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
    centre: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grads = [t.new_empty(t.shape) for t in (value, x, y, weights)]
    return grads[0], grads[1], grads[2], grads[3]


def _setup_context(
    ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor
) -> None:
    value, x, y, weights, ctx.shapes, ctx.way, centre = inputs
    ctx.save_for_backward(value, x, y, weights, centre)


def _backward(
    ctx: torch.autograd.function.FunctionCtx, grad_output: Tensor
) -> tuple[Tensor | None, ...]:
    *inputs, centre = ctx.saved_tensors
    grads = _backward_operator(grad_output, *inputs, ctx.shapes, ctx.way, centre)
    grad_centre = None
    if ctx.needs_input_grad[-1]:
        sums = [grad.sum((2, 4), dtype=centre.dtype) for grad in grads[1:3]]
        grad_centre = torch.stack(sums, dim=-1)
    return *grads, None, None, grad_centre


_operator.register_autograd(_backward, setup_context=_setup_context)
