# Copyright (c) mmfdta authors.
"""Attention to the past with a learned bias for the distance in time."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import MultiheadAttention

# Added to the score of what may not be seen: its weight underflows to exactly 0,
# and half precision can still represent it.
NEVER = -1e4


class TimeBiasedAttention(MultiheadAttention):
    """Cross-attention whose scores depend on frames besides queries and keys.

    A bias for every pair of tokens would take (S, H, T N, T' N') numbers, far more
    than anything else in training. It depends on the pair of frames only, so it is
    carried by T extra channels instead: a query holds 1 in the channel of its frame,
    a key holds in each channel what that frame's queries are to add. The scores, and
    so the result, are the same.

    Args:
        embed_dims (int): Number of channels C.
        num_heads (int): Number of heads H.
    """

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__(embed_dims, num_heads, add_zero_attn=True)

    def forward(  # type: ignore[override]
        self, query: Tensor, key: Tensor, time_bias: Tensor, hidden: Tensor
    ) -> Tensor:
        """Attend.

        Args:
            query (Tensor): Tokens of T frames, (S, T * N, C), frame by frame.
            key (Tensor): Tokens of T' frames, (S, T' * N', C), frame by frame.
            time_bias (Tensor): Added to the scores of a pair of frames, `NEVER`
                where the query may not see the key's frame, (H, T, T').
            hidden (Tensor): Keys that nothing may see, (S, T' * N') bool.

        Returns:
            Tensor: (S, T * N, C).
        """
        frames, past = time_bias.shape[1:]
        q = self.project(query, 0) * self.head_dim**-0.5
        k, v = self.project(key, 1), self.project(key, 2)
        own_frame = torch.eye(frames, dtype=q.dtype, device=q.device)
        own_frame = own_frame.repeat_interleave(query.shape[1] // frames, 0)
        bias = time_bias.transpose(1, 2).repeat_interleave(key.shape[1] // past, 1)
        bias = bias.masked_fill(hidden[:, None, :, None], NEVER).to(k.dtype)
        q = torch.cat([q, own_frame.expand(*q.shape[:2], -1, -1)], dim=-1)
        k = torch.cat([k, bias], dim=-1)
        # The zero token, and the channels that values need to be as wide as keys.
        k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, frames, 0, 1))
        out = F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., : self.head_dim]
        return self.out_proj(out.transpose(1, 2).flatten(2))
