# Copyright (c) mmfdta authors.
"""Which kernel CUDA takes for ``scaled_dot_product_attention``.

The rules are those of PyTorch 2.11 to 2.13 (``sdp_utils.cpp``) for NVIDIA GPUs of
compute capability 8.0, dense tensors and kernels that nobody switched off.
"""

import torch
from torch import Tensor

HALVES = (torch.float16, torch.bfloat16)


def attention_kernel(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, is_causal: bool = False
) -> tuple[str, str]:
    """Return ``flash``, ``memory-efficient`` or ``math``, and why no better one.

    Args:
        q: Queries (B, heads, Q, E), in the type that they have under autocast.
        k: Keys (B, heads, K, E).
        v: Values (B, heads, K, Ev).
        mask: Mask or bias that is broadcast to (B, heads, Q, K).
        is_causal: Whether queries see earlier keys only.
    """
    both = _reason_for_neither(q, k, v, mask)
    if both:
        return 'math', both
    if q.dtype not in HALVES:
        flash = str(q.dtype)
    elif mask is not None:
        flash = 'mask'
    elif not q.shape[-1] == k.shape[-1] == v.shape[-1] <= 256:
        flash = f'head sizes {q.shape[-1]}, {v.shape[-1]}'
    elif is_causal and q.shape[-2] != k.shape[-2]:
        flash = 'causal, other numbers of queries and keys'
    else:
        return 'flash', ''
    multiple = 8 if q.dtype in HALVES else 4
    if q.dtype not in (*HALVES, torch.float32):
        return 'math', str(q.dtype)
    if q.shape[-1] != k.shape[-1] or q.shape[-1] % multiple or v.shape[-1] % multiple:
        sizes = f'{q.shape[-1]}, {v.shape[-1]}'
        return 'math', f'head sizes {sizes} are no multiples of {multiple}'
    for name, x in (('queries', q), ('keys', k), ('values', v)):
        if x.numel() and x.storage_offset() % multiple:
            return 'math', f'{name} start at element {x.storage_offset()}'
    return 'memory-efficient', flash


def _reason_for_neither(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
) -> str | None:
    """Say what neither fused kernel takes."""
    if not q.dim() == k.dim() == v.dim() == 4:
        return f'{q.dim()} dimensions'
    if not q.dtype == k.dtype == v.dtype:
        return f'types {q.dtype}, {k.dtype}, {v.dtype}'
    if q.shape[-2] == 0 or k.shape[-2] == 0:
        return 'no queries or keys'
    if not q.shape[:2] == k.shape[:2] == v.shape[:2]:
        return 'other numbers of batches or heads'
    strides = [x.stride(-1) for x in (q, k, v, mask) if x is not None]
    if set(strides) != {1}:
        return f'last strides {strides}'
    return None
