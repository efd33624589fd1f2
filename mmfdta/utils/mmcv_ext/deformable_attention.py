# Copyright (c) mmfdta authors.
"""Multi-scale deformable attention with the interface of the compiled operator."""

import torch
from torch import Tensor


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Compute MMCV's PyTorch path with the arguments of the compiled operator.

    Args:
        value: (B, sum of H x W over the levels, heads, channels per head).
        value_spatial_shapes: (H, W) of each level, int64 (levels, 2).
        value_level_start_index: Offset of each level; not used, as the shapes give it.
        sampling_locations: x, y in 0..1, (B, queries, heads, levels, points, 2).
        attention_weights: (B, queries, heads, levels, points).
        im2col_step: Images that the compiled operator processes at once; not used.

    Returns:
        (B, queries, heads x channels per head).
    """
    # Not at the top: `mmcv.ops` can only be imported if the extension is installed.
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    # As numbers: one copy from the device for all levels, not one for each.
    shapes = value_spatial_shapes.tolist()
    return multi_scale_deformable_attn_pytorch(
        value, shapes, sampling_locations, attention_weights
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
        output = ms_deform_attn_forward(
            leaf_value,
            value_spatial_shapes,
            value_level_start_index,
            leaf_locations,
            leaf_weights,
            im2col_step,
        )
    gradients = torch.autograd.grad(output, leaves, grad_output)
    targets = (grad_value, grad_sampling_loc, grad_attn_weight)
    for target, gradient in zip(targets, gradients, strict=True):
        target.copy_(gradient)
