# Copyright (c) mmfdta authors.
"""Post-norm transformer encoder layer, its FFN and the encoding of frame positions."""

from typing import Literal

import torch
from torch import Tensor, nn

from .attention import MultiheadAttention


class FFN(nn.Module):
    """Two linear layers with an activation between them.

    Args:
        embed_dims: Number of input and output channels.
        feedforward_channels: Number of hidden channels.
        activation: ``'relu'`` or ``'gelu'``.
        dropout: Dropout after the activation.
    """

    def __init__(
        self,
        embed_dims: int,
        feedforward_channels: int,
        activation: Literal['relu', 'gelu'] = 'relu',
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.linear1 = nn.Linear(embed_dims, feedforward_channels)
        self.linear2 = nn.Linear(feedforward_channels, embed_dims)
        self.activation = nn.GELU() if activation == 'gelu' else nn.ReLU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(nn.Module):
    """Self-attention and FFN, each with residual, dropout and LayerNorm after.

    Args:
        embed_dims: Number of channels.
        num_heads: Number of heads.
        feedforward_channels: Hidden channels of the FFN.
        dropout: Dropout on attention weights and both branches.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        feedforward_channels: int,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(embed_dims, num_heads, dropout)
        self.norm1 = nn.LayerNorm(embed_dims)
        self.ffn = FFN(embed_dims, feedforward_channels, dropout=dropout)
        self.norm2 = nn.LayerNorm(embed_dims)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, pos: Tensor | None = None, attn_mask: Tensor | None = None
    ) -> Tensor:
        """Run the layer.

        Args:
            x: Tokens (B, L, C).
            pos: Position added to queries and keys, not to values; broadcastable to
                ``x``.
            attn_mask: See :meth:`MultiheadAttention.attend`.

        Returns:
            (B, L, C).
        """
        q = x if pos is None else x + pos
        x = self.norm1(x + self.dropout(self.self_attn(q, q, x, attn_mask)))
        return self.norm2(x + self.dropout(self.ffn(x)))


def frame_position_encoding(
    num_frames: int,
    embed_dims: int,
    temperature: float = 10000.0,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Encode the 1-based index of a frame in its window.

    Neighbouring channels hold sine and cosine of the same frequency. The index is
    neither normalised by the window nor scaled by 2 pi.

    Args:
        num_frames: Number of frames T.
        embed_dims: Number of channels C; even.
        temperature: Base of the frequencies.
        device: Where to create the encoding.
        dtype: Type of the result; computed in float32.

    Returns:
        (T, C).
    """
    index = torch.arange(1, num_frames + 1, dtype=torch.float32, device=device)
    channel = torch.arange(embed_dims, dtype=torch.float32, device=device)
    period = temperature ** (2 * (channel // 2) / embed_dims)
    angle = index[:, None] / period
    encoding = torch.empty_like(angle)
    encoding[:, 0::2] = angle[:, 0::2].sin()
    encoding[:, 1::2] = angle[:, 1::2].cos()
    return encoding.to(dtype)
