# Copyright (c) mmfdta authors.
"""Linear layers that a CPU computes by oneDNN."""

import math
from collections.abc import Callable
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from mmcv.cnn import Linear as MMCVLinear
from torch import Tensor, nn

Activation = Literal['none', 'relu', 'gelu']
# Multiplications from which a product gains more than the call costs: of a product
# alone, and of one whose gradients pass through Python.
_WORTHWHILE = 2**20
_WORTHWHILE_WITH_GRADIENT = 2**24


@cache
def find_onednn_linear() -> Callable[..., Tensor] | None:
    """Find PyTorch's own call of oneDNN for linear layers, which compiled models use.

    Returns:
        Callable | None: The operator, None if this build lacks it or it does not
        give what ``torch.nn.functional.linear`` gives.
    """
    x, weight, bias = torch.ones(2, 3), torch.ones(4, 3), torch.ones(4)
    try:
        operator = torch.ops.mkldnn._linear_pointwise
        found = operator(x, weight, bias, 'none', [], '')
    except (AttributeError, RuntimeError):
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
        and not torch.is_autocast_enabled('cpu')
        and not torch.compiler.is_compiling()
        and find_onednn_linear() is not None
    )


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
    # A strided weight would take oneDNN's reference loop, 1000 times slower.
    exact = 'none' if activation == 'gelu' else ''
    return operator(x, weight.contiguous(), bias, activation, [], exact)


class _OneDNNLinear(torch.autograd.Function):
    """Linear layer of (L, C) whose product and gradients are oneDNN's."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return onednn_linear(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            onednn_linear(grad, weight.t()) if of_x else None,
            onednn_linear(grad.t(), x.t()) if of_weight else None,
            grad.sum(0) if of_bias else None,
        )


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: Activation = 'none',
) -> Tensor:
    """``torch.nn.functional.linear`` by the faster of PyTorch's two libraries.

    On a CPU PyTorch computes linear layers by MKL, which leaves the wide vectors of
    AMD's processors unused, and convolutions by oneDNN, which uses those of all. Large
    enough products go to oneDNN here, with their gradients.

    Args:
        x (Tensor): (..., C).
        weight (Tensor): (D, C).
        bias (Tensor, optional): (D,).
        activation (str): What follows; without gradients in the same pass.

    Returns:
        Tensor: (..., D).
    """
    size = x.numel() * weight.shape[0]
    if size < _WORTHWHILE or x.dim() < 2 or not onednn_applies(x):
        return _activate(F.linear(x, weight, bias), activation)
    if not torch.is_grad_enabled() or not any(
        t is not None and t.requires_grad for t in (x, weight, bias)
    ):
        return onednn_linear(x, weight, bias, activation)
    if size < _WORTHWHILE_WITH_GRADIENT:
        return _activate(F.linear(x, weight, bias), activation)
    rows = _OneDNNLinear.apply(x.flatten(0, -2), weight, bias)
    return _activate(rows.view(*x.shape[:-1], -1), activation)


def _activate(x: Tensor, activation: Activation) -> Tensor:
    return x if activation == 'none' else getattr(F, activation)(x)


def matrix_products(x: Tensor, weight: Tensor) -> Tensor:
    """Product of each matrix with the transposed other one, without a gradient.

    Args:
        x (Tensor): (B, L, C).
        weight (Tensor): (B, D, C).

    Returns:
        Tensor: (B, L, D).
    """
    size = x[:1].numel() * weight.shape[1]
    if size < _WORTHWHILE or not onednn_applies(x):
        return torch.bmm(x, weight.transpose(1, 2))
    products = map(onednn_linear, x, weight)
    return next(products)[None] if len(x) == 1 else torch.stack(list(products))


class Linear(nn.Linear):
    """``torch.nn.Linear`` on :func:`linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., D)."""
        return linear(x, self.weight, self.bias)


def use_fast_linears(module: nn.Module) -> None:
    """Make the linear layers in a module those of this file; weights stay."""
    for child in module.modules():
        if type(child) in (nn.Linear, MMCVLinear):
            child.__class__ = Linear


def linear_flops() -> dict[object, Callable[..., int]]:
    """Tell ``FlopCounterMode``, as ``custom_mapping``, what oneDNN's products cost.

    Returns:
        dict: Operator -> function from shapes of arguments to operations.
    """

    def count(x: tuple[int, ...], weight: tuple[int, ...], *args, **kwargs) -> int:
        return 2 * math.prod(x) * weight[0]

    if find_onednn_linear() is None:
        return {}
    return {torch.ops.mkldnn._linear_pointwise: count}
