# Copyright (c) mmfdta authors.
"""Computation in float32 inside a model of lower precision."""

from collections.abc import Callable

import torch
from torch import Tensor


def in_float32(module: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a module in float32 where autocast would use half precision.

    Box refinement needs it: near 0.7, numbers in bfloat16 are 1/256 apart, which is
    6 pixels of 1440. So do ID scores: near 10, they are 1/16 apart.

    Args:
        module: With weights in float32.
        x: Its input, in any floating type.

    Returns:
        Its output in float32; without autocast, in the type that the module returns.
    """
    if not torch.is_autocast_enabled(x.device.type):
        return module(x)
    with torch.autocast(x.device.type, enabled=False):
        return module(x.float())
