# Copyright (c) mmfdta authors.
"""Scaled dot-product attention, with a faster implementation for many keys on a CPU.

In blocks of 512 queries and 1024 keys the scores stay in the caches, and powers of 2
take less time than exponentials. The blocks are used

- with dropout, in the frames of training that need no gradients, for which PyTorch
  stores the weights of all queries and keys: 26 frames of 456x256 take 22 s and 4.4 GiB
  instead of 31 s and 10 GiB (two threads of a Zen 5);
- without dropout on Zen 5, where they are 1.8 times as fast as PyTorch's function on
  one thread. With AVX2 PyTorch's is 1.3 times as fast as the blocks; on Zen 4 both are
  equally fast.
"""

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .linear import linear, product
from .processor import (
    amd_family,
    has_avx512,
    is_plain_float,
    is_recorded,
    wants_gradient,
)

# With fewer keys the blocks gain nothing.
_FEWEST_KEYS = 1024
# A block of scores is 2 MB, which stays in the caches.
_QUERIES, _KEYS = 512, 1024
# 2 to this power, multiplied by any number of keys and any values, fits into float32,
# and so does its inverse.
_LARGEST_SCORE = 60.0


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """``scaled_dot_product_attention``, faster for many keys on a CPU.

    Args:
        q: Queries (B, H, Lq, D).
        k: Keys (B, H, Lk, D).
        v: Values (B, H, Lk, D).
        attn_mask: Broadcastable to (B, H, Lq, Lk). Bool: True = may attend. Float:
            added to the scores.
        dropout: Probability that a weight is dropped.

    Returns:
        (B, H, Lq, D).
    """
    # First, because a compiler cannot trace the questions about the processor.
    if is_recorded():
        return F.scaled_dot_product_attention(q, k, v, attn_mask, dropout)
    if (dropout or _blocks_gain()) and _fits_blocks(q, k, v, attn_mask):
        # Moving all keys does not change the weights and makes the norms small.
        k = (k - k.mean(2, keepdim=True)) * (k.shape[-1] ** -0.5 * math.log2(math.e))
        largest = q.norm(dim=-1).amax() * k.norm(dim=-1).amax()
        if largest <= _LARGEST_SCORE:
            return _attend_in_blocks(q, k, v, attn_mask, dropout)
        k = k * math.log(2)
        return F.scaled_dot_product_attention(q, k, v, attn_mask, dropout, scale=1.0)
    return F.scaled_dot_product_attention(q, k, v, attn_mask, dropout)


@functools.cache
def _blocks_gain() -> bool:
    return amd_family() >= 26 and has_avx512()


def _fits_blocks(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None) -> bool:
    if k.shape[2] < _FEWEST_KEYS or q.numel() == 0 or not is_plain_float(q):
        return False
    if wants_gradient(q, k, v):
        return False
    # The only masks are those that remove keys from all queries and heads.
    return attn_mask is None or (
        attn_mask.dtype == torch.bool
        and attn_mask.shape == (len(k), 1, 1, k.shape[2])
        and bool(attn_mask.any(-1).all())
    )


def _attend_in_blocks(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None, dropout: float
) -> Tensor:
    """Attend with scores in powers of 2 that are small enough to need no maximum."""
    images, heads, queries, channels = q.shape
    out = q.new_empty(images, queries, heads, channels)
    for image in range(images):
        seen = slice(None) if attn_mask is None else attn_mask[image, 0, 0]
        for head in range(heads):
            keys = k[image, head][seen].split(_KEYS)
            values = [
                part.t().contiguous() for part in v[image, head][seen].split(_KEYS)
            ]
            for start in range(0, queries, _QUERIES):
                block = slice(start, start + _QUERIES)
                out[image, block, head] = _attend_block(
                    q[image, head, block].contiguous(), keys, values, dropout
                )
    return out.transpose(1, 2)


def _attend_block(
    q: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor], dropout: float
) -> Tensor:
    """Attend from some queries (L, D) of a head to blocks of keys and of values."""
    out, total = q.new_zeros(len(q), values[0].shape[0]), q.new_zeros(len(q))
    for key, value in zip(keys, values, strict=True):
        weights = product(q, key).exp2_()
        # On two threads this takes half the time of a sum.
        total += weights.mv(weights.new_ones(len(key)))
        weights = F.dropout(weights, dropout, inplace=True) if dropout else weights
        out += product(weights, value)
    return out.div_(total[:, None])


class Operators(nn.Module):
    """The operators of an attention layer: PyTorch's linear map and attention.

    A layer that uses parts of a weight cannot call ``nn.Linear``; it calls this module,
    which `accelerate` can replace. It has no parameters.
    """

    @staticmethod
    def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Map (..., C) to (..., D) by a weight (D, C) and a bias (D,)."""
        return F.linear(x, weight, bias)

    @staticmethod
    def attention(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        attn_mask: Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Attend; see the function `attention` for the arguments."""
        return F.scaled_dot_product_attention(q, k, v, attn_mask, dropout)


class FastOperators(Operators):
    """The same operators by the faster functions of this package."""

    linear = staticmethod(linear)
    attention = staticmethod(attention)
