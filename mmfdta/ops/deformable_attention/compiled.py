# Copyright (c) mmfdta authors.
"""Deformable sampling by MMCV's compiled operator."""

import torch
from mmcv.ops.info import get_compiling_cuda_version
from mmcv.ops.multi_scale_deform_attn import ext_module
from torch import Tensor

from mmfdta.utils.mmcv_ext import has_compiled_operators

from .levels import LevelShapes, level_starts, on_device

# The operator counts in int32.
_LARGEST = 2**31 - 1


def is_compiled() -> bool:
    """Whether the operator is available for CUDA."""
    return has_compiled_operators() and get_compiling_cuda_version() != 'not available'


def images_at_once(value: Tensor, x: Tensor) -> int:
    """Images that the operator can process at once, or 0 if one is too large for it.

    It needs a divisor of their number, at most 64.
    """
    outputs = x.shape[1] * value[0, 0].numel()
    largest = max(value[0].numel(), 2 * x[0].numel(), outputs)
    fits = min(64, _LARGEST // largest)
    return max((n for n in range(1, fits + 1) if len(value) % n == 0), default=0)


def compiled_forward(
    value: Tensor, x: Tensor, y: Tensor, weights: Tensor, shapes: LevelShapes
) -> Tensor:
    """Sample; arguments and result as of `sparse_forward`, on CUDA."""
    return ext_module.ms_deform_attn_forward(
        *_arguments(value, x, y, weights, shapes), im2col_step=images_at_once(value, x)
    )


def compiled_backward(
    grad_output: Tensor,
    value: Tensor,
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    shapes: LevelShapes,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of value, x, y and weights."""
    arguments = _arguments(value, x, y, weights, shapes)
    grads = [torch.zeros_like(arguments[i]) for i in (0, 3, 4)]
    ext_module.ms_deform_attn_backward(
        *arguments,
        grad_output.contiguous(),
        *grads,
        im2col_step=images_at_once(value, x),
    )
    grad_x, grad_y = (grads[1] / _sizes(shapes, x)).unbind(-1)
    return grads[0], grad_x.contiguous(), grad_y.contiguous(), grads[2]


def _arguments(
    value: Tensor, x: Tensor, y: Tensor, weights: Tensor, shapes: LevelShapes
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the arguments of the operator, which expects points in 0..1."""
    locations = (torch.stack([x, y], dim=-1) + 0.5) / _sizes(shapes, x)
    starts = on_device((level_starts(shapes),), torch.int64, x.device)[0]
    return (
        value.contiguous(),
        on_device(shapes, torch.int64, x.device),
        starts,
        locations,
        weights.contiguous(),
    )


def _sizes(shapes: LevelShapes, x: Tensor) -> Tensor:
    """Width and height of each level, (L, 1, 2)."""
    sizes = tuple((width, height) for height, width in shapes)
    return on_device(sizes, x.dtype, x.device)[:, None]
