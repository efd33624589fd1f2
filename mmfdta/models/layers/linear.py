# Copyright (c) mmfdta authors.
"""Linear layers that a CPU computes as convolutions at inference."""

import torch
import torch.nn.functional as F
from mmcv.cnn import Linear as MMCVLinear
from torch import Tensor, nn

# Fewer tokens are not worth preparing the weights.
_FEWEST_TOKENS = 128


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``torch.nn.functional.linear`` by the faster of PyTorch's two libraries.

    On a CPU PyTorch computes linear layers by MKL, which leaves the wide vectors of
    AMD's processors unused, and convolutions by oneDNN, which uses those of all. A
    linear layer is a 1x1 convolution of tokens with the channels last; nothing is
    copied. On one thread PyTorch does not choose oneDNN for these, and in training
    the gradients would not gain.

    Args:
        x (Tensor): (..., C).
        weight (Tensor): (D, C).
        bias (Tensor, optional): (D,).

    Returns:
        Tensor: (..., D).
    """
    rows = x.numel() // max(1, x.shape[-1])
    plain = (
        x.device.type != 'cpu'
        or rows < _FEWEST_TOKENS
        or torch.is_grad_enabled()
        or torch.get_num_threads() == 1
        or torch.compiler.is_compiling()
    )
    if plain:
        return F.linear(x, weight, bias)
    tokens = x.reshape(1, 1, rows, -1).permute(0, 3, 1, 2)
    out = F.conv2d(tokens, weight[:, :, None, None], bias)
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


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
