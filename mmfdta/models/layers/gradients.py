# Copyright (c) mmfdta authors.
"""Scaling of gradients that leaves the values unchanged."""

from typing import Any

import torch
from torch import Tensor


class _Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.factor, None


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """Return a tensor unchanged; its gradient is multiplied by a factor.

    Args:
        x: Any tensor.
        factor: 1 returns the tensor itself, 0 detaches it from the graph.
    """
    if factor == 1:
        return x
    return _Scale.apply(x, factor) if factor else x.detach()
