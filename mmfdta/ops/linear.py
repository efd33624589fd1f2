# Copyright (c) mmfdta authors.
"""Linear layers that a CPU computes by oneDNN."""

import torch
import torch.nn.functional as F
from mmcv.cnn import Linear as MMCVLinear
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from mmfdta.ops.onednn import (
    WORTHWHILE,
    Activation,
    onednn_applies,
    onednn_linear,
)

# Multiplications from which a product gains whose gradients pass through Python.
WORTHWHILE_WITH_GRADIENT = 2**24


class _OneDNNLinear(torch.autograd.Function):
    """Linear layer of (L, C) whose product and gradients are oneDNN's."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        return onednn_linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
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

    On a CPU large enough products go to oneDNN here, with their gradients.

    Args:
        x (Tensor): (..., C).
        weight (Tensor): (D, C).
        bias (Tensor, optional): (D,).
        activation (str): What follows; without gradients in the same pass.

    Returns:
        Tensor: (..., D).
    """
    size = x.numel() * weight.shape[0]
    if size < WORTHWHILE or x.dim() < 2 or not onednn_applies(x):
        return _activate(F.linear(x, weight, bias), activation)
    if not torch.is_grad_enabled() or not any(
        t is not None and t.requires_grad for t in (x, weight, bias)
    ):
        return onednn_linear(x, weight, bias, activation)
    if size < WORTHWHILE_WITH_GRADIENT:
        return _activate(F.linear(x, weight, bias), activation)
    rows = _OneDNNLinear.apply(x.flatten(0, -2), weight, bias)
    return _activate(rows.view(*x.shape[:-1], -1), activation)


def _activate(x: Tensor, activation: Activation) -> Tensor:
    return x if activation == 'none' else getattr(F, activation)(x)


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
