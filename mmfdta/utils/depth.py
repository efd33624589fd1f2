# Copyright (c) mmfdta authors.
"""Linear-increasing discretisation (LID) of depth."""

import torch
from torch import Tensor


def lid_bin_size(num_bins: int, depth_min: float, depth_max: float) -> float:
    """Width of the first bin; bin i is i + 1 times as wide."""
    return 2 * (depth_max - depth_min) / (num_bins * (1 + num_bins))


def lid_bin_values(num_bins: int, depth_min: float, depth_max: float) -> Tensor:
    """Depth that each bin stands for: its lower edge, and ``depth_max`` at last.

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
