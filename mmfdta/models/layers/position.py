# Copyright (c) mmfdta authors.
"""Sine encoding of frame indices."""

import torch
from torch import Tensor


def frame_position_encoding(
    num_frames: int,
    embed_dims: int,
    temperature: float = 10000.0,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Encode the 1-based index of a frame in its window.

    Neighbouring channels hold sine and cosine of the same frequency. The index
    is used as it is: neither normalised by the window nor scaled by 2 pi.

    Args:
        num_frames (int): Number of frames T.
        embed_dims (int): Number of channels C; even.
        temperature (float): Base of the frequencies.
        device (torch.device, optional): Where to create the encoding.
        dtype (torch.dtype): Type of the result; computed in float32.

    Returns:
        Tensor: (T, C).
    """
    index = torch.arange(1, num_frames + 1, dtype=torch.float32, device=device)
    channel = torch.arange(embed_dims, dtype=torch.float32, device=device)
    period = temperature ** (2 * (channel // 2) / embed_dims)
    angle = index[:, None] / period
    encoding = torch.empty_like(angle)
    encoding[:, 0::2] = angle[:, 0::2].sin()
    encoding[:, 1::2] = angle[:, 1::2].cos()
    return encoding.to(dtype)
