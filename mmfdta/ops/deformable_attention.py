# Copyright (c) mmfdta authors.
"""Multi-scale deformable attention where the compiled operator is not used."""

import functools
import importlib
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from .sparse_sampling import deformable_sampling

_PYTORCH_PATH = 'multi_scale_deformable_attn_pytorch'


@functools.cache
def _mmcv() -> tuple[ModuleType, Callable[..., Tensor]]:
    """MMCV's module and its own PyTorch path."""
    # Not at the top: the extension has to be there before `mmcv.ops` can be imported.
    module = importlib.import_module('mmcv.ops.multi_scale_deform_attn')
    return module, getattr(module, _PYTORCH_PATH)


def install_deformable_attention() -> None:
    """Replace MMCV's PyTorch path, which its modules take on a CPU."""
    setattr(_mmcv()[0], _PYTORCH_PATH, deformable_attention)


def plain_deformable_attention(
    value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor
) -> Tensor:
    """MMCV's own PyTorch path; arguments as of `deformable_attention`."""
    return _mmcv()[1](value, shapes, locations, weights)


def deformable_attention(
    value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor
) -> Tensor:
    """Multi-scale deformable attention (Zhu et al. 2021).

    On a CPU as sparse products; on other devices, and where a compiler records the
    operations, through `grid_sample`.

    Args:
        value: (B, sum of H x W over the levels, heads, channels per head).
        shapes: (H, W) of each level, int64 (levels, 2).
        locations: x, y in 0..1, (B, queries, heads, levels, points, 2).
        weights: (B, queries, heads, levels, points).

    Returns:
        (B, queries, heads x channels per head).
    """
    # As numbers, so that the levels cost one copy from the device and not one each.
    if isinstance(shapes, Tensor):
        shapes = shapes.tolist()
    recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if value.device.type != 'cpu' or recorded:
        return plain_deformable_attention(value, shapes, locations, weights)
    size = locations.new_tensor([(width, height) for height, width in shapes])
    x, y = (locations * size[:, None] - 0.5).unbind(-1)
    return deformable_sampling(value, shapes, x, y, weights)


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """The compiled operator's interface to `deformable_attention`.

    Args:
        value: (B, sum of H x W over the levels, heads, channels per head).
        value_spatial_shapes: (H, W) of each level, int64 (levels, 2).
        value_level_start_index: Offset of each level; follows from the shapes.
        sampling_locations: x, y in 0..1, (B, queries, heads, levels, points, 2).
        attention_weights: (B, queries, heads, levels, points).
        im2col_step: Batch that the compiled operator takes at once; not needed here.

    Returns:
        (B, queries, heads x channels per head).
    """
    return deformable_attention(
        value, value_spatial_shapes, sampling_locations, attention_weights
    )


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Write the gradients of `ms_deform_attn_forward` to the three `grad_` tensors."""
    leaves = [
        tensor.detach().requires_grad_()
        for tensor in (value, sampling_locations, attention_weights)
    ]
    with torch.enable_grad():
        leaf_value, leaf_locations, leaf_weights = leaves
        output = deformable_attention(
            leaf_value, value_spatial_shapes, leaf_locations, leaf_weights
        )
    gradients = torch.autograd.grad(output, leaves, grad_output)
    targets = (grad_value, grad_sampling_loc, grad_attn_weight)
    for target, gradient in zip(targets, gradients, strict=True):
        target.copy_(gradient)
