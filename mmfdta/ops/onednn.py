# Copyright (c) mmfdta authors.
"""Matrix products of a CPU by oneDNN, which PyTorch itself gives to MKL.

MKL leaves the wide vectors of AMD's processors unused, oneDNN uses those of all.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Activation = Literal['none', 'relu', 'gelu']
# Multiplications from which a product gains more than the call costs.
WORTHWHILE = 2**20


@cache
def find_onednn_linear() -> Callable[..., Tensor] | None:
    """Find PyTorch's own call of oneDNN for linear layers, which compiled models use.

    Returns:
        Callable | None: The operator, None if this build lacks it or what goes with it,
        or it does not give what ``torch.nn.functional.linear`` gives.
    """
    x, weight, bias = (
        torch.ones(shape, device='cpu', dtype=torch.float32)
        for shape in ((2, 3), (4, 3), (4,))
    )
    try:
        operator = torch.ops.mkldnn._linear_pointwise
        found = operator(x, weight, bias, 'none', [], '')
        _is_seen_by_others()
    except (AttributeError, RuntimeError, TypeError):
        return None
    return operator if found.equal(F.linear(x, weight, bias)) else None


def onednn_applies(x: Tensor) -> bool:
    """Whether oneDNN can compute with a tensor, and nothing else has to see it.

    Args:
        x (Tensor): Any tensor.

    Returns:
        bool: True for float32 on a CPU outside of autocast and compilation.
    """
    return (
        x.device.type == 'cpu'
        and x.dtype == torch.float32
        and find_onednn_linear() is not None
        and not _is_seen_by_others()
    )


def _is_seen_by_others() -> bool:
    """Whether autocast or the compiler wants to see products; PyTorch 2.4 and later."""
    return torch.is_autocast_enabled('cpu') or torch.compiler.is_compiling()


def onednn_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: Activation = 'none',
) -> Tensor:
    """Compute a linear layer by oneDNN, without a gradient.

    Args:
        x (Tensor): (..., C) float32 on a CPU.
        weight (Tensor): (D, C).
        bias (Tensor, optional): (D,).
        activation (str): What follows.

    Returns:
        Tensor: (..., D).
    """
    operator = find_onednn_linear()
    assert operator is not None
    exact = 'none' if activation == 'gelu' else ''
    # A strided weight would take oneDNN's reference loop, 1000 times slower.
    return operator(x, weight.contiguous(), bias, activation, [], exact)


def matrix_products(x: Tensor, weight: Tensor) -> Tensor:
    """Product of each matrix with the transposed other one, without a gradient.

    Args:
        x (Tensor): (B, L, C).
        weight (Tensor): (B, D, C).

    Returns:
        Tensor: (B, L, D).
    """
    size = x[:1].numel() * weight.shape[1]
    if size < WORTHWHILE or not onednn_applies(x):
        return torch.bmm(x, weight.transpose(1, 2))
    products = map(onednn_linear, x, weight)
    return next(products)[None] if len(x) == 1 else torch.stack(list(products))


def linear_flops() -> dict[object, Callable[..., int]]:
    """Tell ``FlopCounterMode``, as ``custom_mapping``, what oneDNN's products cost.

    Returns:
        dict: Operator -> function from shapes of arguments to operations.
    """

    def count(
        x: tuple[int, ...], weight: tuple[int, ...], *args: object, **kwargs: object
    ) -> int:
        return 2 * math.prod(x) * weight[0]

    if find_onednn_linear() is None:
        return {}
    return {torch.ops.mkldnn._linear_pointwise: count}
