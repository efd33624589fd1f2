# Copyright (c) mmfdta authors.
"""RoI align (He et al. 2017): averages of samples in the cells of boxes."""

import torch
import torch.nn.functional as F
from torch import Tensor

AVERAGE = 1


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the averages of N boxes to `output` (N, C, height, width).

    Args:
        input: Feature maps (B, C, H, W).
        rois: Index of the map, and xyxy in pixels of the image, (N, 5).
        output: Receives the averages.
        argmax_y: Not used; for the other `pool_mode`.
        argmax_x: Not used; for the other `pool_mode`.
        aligned_height: Number of rows of cells in a box.
        aligned_width: Number of columns of cells in a box.
        spatial_scale: Pixels of the map per pixel of the image.
        sampling_ratio: Samples of a cell along each axis; 0 uses one for each pixel of
            the map in the length of a cell.
        pool_mode: 1, the average.
        aligned: Centres of pixels are at halves; otherwise at integers, and no box is
            smaller than a pixel of the map.

    Raises:
        NotImplementedError: For another `pool_mode`, the maximum.
    """
    if pool_mode != AVERAGE:
        raise NotImplementedError(
            "RoIAlign: found pool_mode='max', which needs the compiled MMCV operators, "
            "expected 'avg'"
        )
    output.copy_(
        _average(
            input,
            rois,
            (aligned_height, aligned_width),
            spatial_scale,
            sampling_ratio,
            aligned,
        )
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of `roi_align_forward` for its maps to `grad_input`."""
    # The averages are linear in the maps, so any maps give the gradient.
    leaf = torch.zeros_like(grad_input, requires_grad=True)
    size = aligned_height, aligned_width
    with torch.enable_grad():
        output = _average(leaf, rois, size, spatial_scale, sampling_ratio, aligned)
    if output.requires_grad:
        grad_input.copy_(torch.autograd.grad(output, leaf, grad_output.to(output))[0])


def _average(
    input: Tensor,
    rois: Tensor,
    size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Average the samples in float32 or float64; arguments as above."""
    dtype = torch.promote_types(input.dtype, torch.float32)
    maps, boxes = input.to(dtype), rois[:, 1:].to(dtype) * spatial_scale
    # y first, as in the sizes of maps and cells.
    start = boxes[:, [1, 0]] - 0.5 * aligned
    extent = boxes[:, [3, 2]] - boxes[:, [1, 0]]
    if not aligned:
        extent = extent.clamp(min=1)
    counts = (extent / extent.new_tensor(size)).ceil().long()
    if sampling_ratio > 0:
        counts = torch.full_like(counts, sampling_ratio)
    found = maps.new_zeros(len(rois), maps.shape[1], *size)
    # Boxes of one map with the same numbers of samples are computed together.
    kinds, kind_of = torch.cat([rois[:, :1].long(), counts], 1).unique(
        dim=0, return_inverse=True
    )
    for number, (image, *samples) in enumerate(kinds.tolist()):
        if min(samples) < 1:
            continue
        index = (kind_of == number).nonzero()[:, 0]
        axes, inside = [], []
        for axis, (cells, count) in enumerate(zip(size, samples, strict=True)):
            steps = torch.arange(cells * count, device=maps.device).to(dtype) + 0.5
            steps = steps / (cells * count)
            points = start[index, axis, None] + steps * extent[index, axis, None]
            length = maps.shape[2 + axis]
            inside.append((points >= -1) & (points <= length))
            points = points.clamp(0, length - 1)
            axes.append((2 * points + 1) / length - 1)
        rows, columns = axes
        shape = len(index), rows.shape[1], columns.shape[1]
        grid = torch.stack(
            [columns[:, None].expand(shape), rows[:, :, None].expand(shape)], dim=-1
        )
        values = F.grid_sample(
            maps[image : image + 1],
            grid.flatten(0, 1)[None],
            padding_mode='border',
            align_corners=False,
        )
        values = values * (inside[0][:, :, None] & inside[1][:, None]).flatten(0, 1)
        values = values.view(-1, len(index), size[0], samples[0], size[1], samples[1])
        found[index] = values.mean((3, 5)).transpose(0, 1)
    return found
