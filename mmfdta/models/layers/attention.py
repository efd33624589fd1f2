# Copyright (c) mmfdta authors.
"""Multi-head attention that never materialises the attention weights."""

from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import MultiheadAttention as MMCVAttention
from torch import Tensor, nn

from mmfdta.ops.attention import Operators


class MultiheadAttention(nn.MultiheadAttention):
    """``torch.nn.MultiheadAttention`` on ``scaled_dot_product_attention``.

    The parameters (names, shapes, initialisation) are those of PyTorch's
    module, so checkpoints fit. Two things differ: attention weights are not
    returned, and the mask may have any shape that broadcasts to the scores, so
    it need not be repeated over heads or queries.

    Args:
        embed_dims: Number of channels C.
        num_heads: Number of heads H; divides C.
        dropout: Dropout on the attention weights in training.
        add_zero_attn: Whether every query may also attend to one extra token whose key
            and value are zero. Its score is exactly 0, so a query without any visible
            key gets a zero output instead of NaN.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        dropout: float = 0.0,
        add_zero_attn: bool = False,
    ) -> None:
        super().__init__(
            embed_dims,
            num_heads,
            dropout=dropout,
            add_zero_attn=add_zero_attn,
            batch_first=True,
        )
        self.operators = Operators()

    def project(self, x: Tensor, part: int) -> Tensor:
        """Project to queries (part 0), keys (1) or values (2).

        Args:
            x: Tokens (B, L, C).
            part: Third of the input projection to use, 0 to 2.

        Returns:
            Projected tokens split into heads, (B, H, L, C / H).
        """
        c = self.embed_dim
        x = self.operators.linear(
            x,
            self.in_proj_weight[part * c : (part + 1) * c],
            self.in_proj_bias[part * c : (part + 1) * c],
        )
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None
    ) -> Tensor:
        """Attend with projected queries, keys and values.

        Args:
            q: Queries (B, H, Lq, D).
            k: Keys (B, H, Lk, D).
            v: Values (B, H, Lk, D).
            attn_mask: Broadcastable to (B, H, Lq, Lk). Bool: True = may attend. Float:
                added to the scores. None masks nothing.

        Returns:
            Output tokens (B, Lq, C).
        """
        if self.add_zero_attn:
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
            if attn_mask is not None:
                visible = True if attn_mask.dtype == torch.bool else 0.0
                attn_mask = F.pad(attn_mask, (0, 1), value=visible)
        dropout = self.dropout if self.training else 0.0
        out = self.operators.attention(q, k, v, attn_mask, dropout)
        out = out.transpose(1, 2).flatten(2)
        return self.operators.linear(out, self.out_proj.weight, self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend from ``query`` to ``key`` and ``value``.

        Args:
            query: (B, Lq, C).
            key: (B, Lk, C).
            value: (B, Lk, C).
            attn_mask: See :meth:`attend`.

        Returns:
            (B, Lq, C).
        """
        return self.attend(
            self.project(query, 0),
            self.project(key, 1),
            self.project(value, 2),
            attn_mask,
        )


class DetrAttention(MMCVAttention):
    """MMCV's residual attention brick, computed without weights.

    MMCV makes PyTorch compute the attention weights and discards them; on a
    stride-8 map of 1440x800 they alone take 10 GB. Parameter names
    (``attn.in_proj_weight`` ...) are those of MMDetection's checkpoints.

    Args:
        embed_dims: Number of channels.
        num_heads: Number of heads.
        dropout: Dropout on attention weights and on the output.
        batch_first: Always True, as in MMDetection's DETR layers.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        dropout: float = 0.0,
        batch_first: bool = True,
    ) -> None:
        super().__init__(
            embed_dims,
            num_heads,
            attn_drop=dropout,
            dropout_layer=dict(type='Dropout', drop_prob=dropout),
            batch_first=batch_first,
        )
        self.attn = MultiheadAttention(embed_dims, num_heads, dropout)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Return ``query + dropout(attention)``.

        Args:
            query: (B, Lq, C).
            key: (B, Lk, C); the query if omitted.
            value: (B, Lk, C); the key if omitted.
            query_pos: Position (B, Lq, C) added to the query; None adds none.
            key_pos: Position (B, Lk, C) added to the key; None adds none.
            key_padding_mask: (B, Lk) bool, True = ignore.
            **kwargs: Ignored. MMDetection's layers pass the arguments of deformable
                attention to every attention.

        Returns:
            (B, Lq, C).
        """
        identity = query
        key = query if key is None else key
        value = key if value is None else value
        if query_pos is not None:
            query = query + query_pos
        if key_pos is not None:
            key = key + key_pos
        mask = None if key_padding_mask is None else ~key_padding_mask[:, None, None]
        return identity + self.dropout_layer(self.attn(query, key, value, mask))
