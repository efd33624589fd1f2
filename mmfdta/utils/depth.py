# Copyright (c) mmfdta authors.
"""Linear-increasing discretisation (LID) of depth."""

import torch
from torch import Tensor


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
