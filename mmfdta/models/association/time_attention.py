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

    A key is a feature followed by one of a few words. Both halves are projected on
    their own, so that a word is projected once and not with every observation.

    A bias for every pair of tokens would take (S, H, T N, T' N') numbers, far more
    than anything else in training. It depends on the pair of frames only, so it is
    carried by T extra channels instead: a query holds 1 in the channel of its frame,
    a key holds in each channel what that frame's queries are to add. The scores, and
    so the result, are the same. Queries of a single frame, as in tracking, share their
    bias, which is a mask then.

    Args:
        embed_dims (int): Number of channels C.
        num_heads (int): Number of heads H.
    """

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__(embed_dims, num_heads, add_zero_attn=True)

    def project_keys(self, features: Tensor, words: Tensor, labels: Tensor) -> Tensor:
        """Project to keys and values.

        Args:
            features (Tensor): Feature half of the keys, (S, T', N', Cf).
            words (Tensor): The vocabulary, (K, C - Cf).
            labels (Tensor): Word of each key, (S, T', N') int64, or of each object,
                (S, 1, N').

        Returns:
            Tensor: Keys and values split into heads, (S, 2H, T' * N', C / H).
        """
        channels = features.shape[-1]
        weight = self.in_proj_weight[self.embed_dim :]
        bias = self.in_proj_bias[self.embed_dim :]
        table = F.linear(words, weight[:, channels:], bias)
        projected = self.operators.linear(features, weight[:, :channels])
        of_words = F.embedding(labels, table).to(projected)
        # In place where no gradient can forbid it: the keys of a full window take 6 MB.
        if torch.is_grad_enabled():
            projected = projected + of_words
        else:
            projected += of_words
        projected = projected.flatten(1, 2).unflatten(-1, (-1, self.head_dim))
        return projected.transpose(1, 2)

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        features: Tensor,
        words: Tensor,
        labels: Tensor,
        time_bias: Tensor,
        hidden: Tensor,
    ) -> Tensor:
        """Attend.

        Args:
            query (Tensor): Tokens of T frames, (S, T * N, C), frame by frame.
            features (Tensor): Feature half of the keys of T' frames,
                (S, T', N', Cf).
            words (Tensor): The words that keys may end in, (K, C - Cf).
            labels (Tensor): Word of each key, (S, T', N') int64, or of each object,
                (S, 1, N').
            time_bias (Tensor): Added to the scores of a pair of frames, `NEVER`
                where the query may not see the key's frame, (H, T, T').
            hidden (Tensor): Keys that nothing may see, (S, T' * N') bool.

        Returns:
            Tensor: (S, T * N, C).
        """
        frames = time_bias.shape[1]
        q = self.project(query, 0)
        k, v = self.project_keys(features, words, labels).chunk(2, dim=1)
        bias = time_bias.transpose(1, 2).repeat_interleave(labels.shape[2], 1)
        bias = bias.masked_fill(hidden[:, None, :, None], NEVER).to(k.dtype)
        if frames == 1:
            return self.attend(q, k, v, bias.transpose(2, 3))
        own_frame = torch.eye(frames, dtype=q.dtype, device=q.device)
        own_frame = own_frame.repeat_interleave(query.shape[1] // frames, 0)
        q = q * self.head_dim**-0.5
        q = torch.cat([q, own_frame.expand(*q.shape[:2], -1, -1)], dim=-1)
        k = torch.cat([k, bias], dim=-1)
        # The zero token, and the channels that values need to be as wide as keys.
        k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, frames, 0, 1))
        out = F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., : self.head_dim]
        out = out.transpose(1, 2).flatten(2)
        return self.operators.linear(out, self.out_proj.weight, self.out_proj.bias)
