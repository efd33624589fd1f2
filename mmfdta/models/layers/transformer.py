# Copyright (c) mmfdta authors.
"""Post-norm transformer encoder layer and feed-forward network."""

from torch import Tensor, nn

from mmfdta.ops.linear import Linear, linear
from mmfdta.ops.onednn import Activation

from .attention import MultiheadAttention


class FFN(nn.Module):
    """Two linear layers with an activation between them.

    Args:
        embed_dims (int): Number of input and output channels.
        feedforward_channels (int): Number of hidden channels.
        activation (str): ``'relu'`` or ``'gelu'``.
        dropout (float): Dropout after the activation.
    """

    def __init__(
        self,
        embed_dims: int,
        feedforward_channels: int,
        activation: Activation = 'relu',
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.linear1 = Linear(embed_dims, feedforward_channels)
        self.linear2 = Linear(feedforward_channels, embed_dims)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        first = self.linear1
        hidden = linear(x, first.weight, first.bias, self.activation)
        return self.linear2(self.dropout(hidden))


class TransformerEncoderLayer(nn.Module):
    """Self-attention and FFN, each with residual, dropout and LayerNorm after.

    Args:
        embed_dims (int): Number of channels.
        num_heads (int): Number of heads.
        feedforward_channels (int): Hidden channels of the FFN.
        dropout (float): Dropout on attention weights and both branches.
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
            x (Tensor): Tokens (B, L, C).
            pos (Tensor, optional): Position added to queries and keys, not to
                values; broadcastable to ``x``.
            attn_mask (Tensor, optional): See :meth:`MultiheadAttention.attend`.

        Returns:
            Tensor: (B, L, C).
        """
        q = x if pos is None else x + pos
        x = self.norm1(x + self.dropout(self.self_attn(q, q, x, attn_mask)))
        return self.norm2(x + self.dropout(self.ffn(x)))
