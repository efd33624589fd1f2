# Copyright (c) mmfdta authors.
"""Linear layers, computed on a CPU by the faster of PyTorch's two libraries.

PyTorch computes linear layers with MKL, which does not use AVX-512 on AMD's processors.
oneDNN does, through an operator that PyTorch's compiler uses. On one thread oneDNN is
2.3 times as fast on Zen 5, 1.17 times on Zen 4, and equally fast on Zen 3 (125 GFLOP/s
on two threads in both cases). So oneDNN is used on AMD's processors with AVX-512, and
PyTorch's function everywhere else.
"""

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from .processor import amd_family, has_avx512, is_plain_float, wants_gradient

# Multiplications from which a product gains more than the call costs, without
# gradients, and with gradients, which go through Python.
_WORTHWHILE = 2**20
_WORTHWHILE_WITH_GRADIENT = 2**24


@functools.cache
def _find_operator() -> Callable[..., Tensor] | None:
    """Return oneDNN's linear layer; None if it is missing or its result differs."""
    x, weight, bias = (
        torch.ones(shape, device='cpu', dtype=torch.float32)
        for shape in ((2, 3), (4, 3), (4,))
    )
    try:
        operator = torch.ops.mkldnn._linear_pointwise
        found = operator(x, weight, bias, 'none', [], '')
    except (AttributeError, RuntimeError, TypeError):
        return None
    return operator if found.equal(F.linear(x, weight, bias)) else None


@functools.cache
def onednn_gains() -> bool:
    """Whether oneDNN multiplies faster than MKL on this processor."""
    return amd_family() > 0 and has_avx512() and _find_operator() is not None


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``torch.nn.functional.linear`` for float32 on a CPU, without gradients.

    Args:
        x: (..., C).
        weight: (D, C).
        bias: (D,).

    Returns:
        (..., D).
    """
    operator = _find_operator() if onednn_gains() else None
    if operator is None:
        return F.linear(x, weight, bias)
    # For a strided weight oneDNN uses its reference loop, which is 1000 times slower.
    return operator(x, weight.contiguous(), bias, 'none', [], '')


class _OneDNNLinear(torch.autograd.Function):
    """Linear layer of (L, C), product and gradients computed by oneDNN."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            product(grad, weight.t()) if of_x else None,
            product(grad.t(), x.t()) if of_weight else None,
            grad.sum(0) if of_bias else None,
        )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``torch.nn.functional.linear``, with the faster library for large products.

    Args:
        x: (..., C).
        weight: (D, C).
        bias: (D,).

    Returns:
        (..., D).
    """
    # `onednn_gains` comes last: its first call runs oneDNN, which must not be recorded.
    if x.dim() < 2 or not is_plain_float(x) or not onednn_gains():
        return F.linear(x, weight, bias)
    size = x.numel() * weight.shape[0]
    if size < _WORTHWHILE:
        return F.linear(x, weight, bias)
    if not wants_gradient(x, weight, bias):
        return product(x, weight, bias)
    if size < _WORTHWHILE_WITH_GRADIENT:
        return F.linear(x, weight, bias)
    rows = _OneDNNLinear.apply(x.flatten(0, -2), weight, bias)
    return rows.view(*x.shape[:-1], -1)


class FastLinear(nn.Linear):
    """``torch.nn.Linear``, computed by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., D)."""
        return linear(x, self.weight, self.bias)


def products(x: Tensor, weight: Tensor) -> Tensor:
    """Compute the `product` of B pairs of matrices, one by one if oneDNN is faster.

    Args:
        x: (B, L, C).
        weight: (B, D, C).

    Returns:
        (B, L, D).
    """
    if not is_plain_float(x) or not onednn_gains():
        return x @ weight.mT
    found = [product(*one) for one in zip(x, weight, strict=True)]
    return torch.stack(found) if len(x) > 1 else found[0][None]


def linear_flops() -> dict[object, Callable[..., int]]:
    """Return a ``custom_mapping`` of ``FlopCounterMode`` for oneDNN's products.

    Returns:
        Operator -> function from shapes of arguments to number of operations.
    """

    def count(
        x: tuple[int, ...], weight: tuple[int, ...], *args: object, **kwargs: object
    ) -> int:
        return 2 * math.prod(x) * weight[0]

    if _find_operator() is None:
        return {}
    return {torch.ops.mkldnn._linear_pointwise: count}
