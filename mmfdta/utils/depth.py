# Copyright (c) mmfdta authors.
"""Batches of depth maps, and linear-increasing discretisation (LID) of depth."""

from collections.abc import Sequence

import torch
from torch import Tensor


def stack_depth_maps(
    maps: Sequence[Tensor | None], size: tuple[int, int]
) -> Tensor | None:
    """Stack depth maps of frames or clips, of which some may be missing.

    Args:
        maps: (..., h, w) of any dtype, or None where there is none. h and w may
            differ, the rest may not.
        size: (H, W) of the batch, at least the largest h and w.

    Returns:
        float32 (len(maps), ..., H, W), padded with zeros at the right and bottom, NaN
        where a map is missing; None if all are.
    """
    known = next((depth for depth in maps if depth is not None), None)
    if known is None:
        return None
    shape = len(maps), *known.shape[:-2], *size
    batch = known.new_zeros(shape, dtype=torch.float32)
    for out, depth in zip(batch, maps, strict=True):
        if depth is None:
            out.fill_(torch.nan)
        else:
            out[..., : depth.shape[-2], : depth.shape[-1]] = depth
    return batch


def lid_bin_size(num_bins: int, depth_min: float, depth_max: float) -> float:
    """Return the width of the first bin; bin i, from 0, is i + 1 times as wide."""
    return 2 * (depth_max - depth_min) / (num_bins * (1 + num_bins))


def lid_bin_values(num_bins: int, depth_min: float, depth_max: float) -> Tensor:
    """Return the depth of each bin: its lower edge, with ``depth_max`` at the end.

    Args:
        num_bins: Number D of bins.
        depth_min: Lower edge of the first bin.
        depth_max: Upper edge of the last bin.

    Returns:
        (D + 1,) float32, increasing.
    """
    size = lid_bin_size(num_bins, depth_min, depth_max)
    index = torch.arange(num_bins, dtype=torch.float32)
    edges = (index + 0.5).pow(2) * size / 2 - size / 8 + depth_min
    return torch.cat([edges, edges.new_tensor([depth_max])])
