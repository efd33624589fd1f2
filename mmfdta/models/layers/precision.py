# Copyright (c) mmfdta authors.
"""What is computed in float32 whatever the precision of the model is."""

from collections.abc import Callable

import torch
from torch import Tensor


def in_float32(module: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a module in float32 where autocast would take half precision.

    Box refinement needs it: a coordinate of 0.7 in bfloat16 is a multiple of 1/256,
    which are 6 pixels of 1440. So do ID scores: a logit of 10 is a multiple of 1/16.

    Args:
        module: With weights in float32.
        x: Its input, in any type.

    Returns:
        Its output, in float32; without autocast what the module returns.
    """
    if not torch.is_autocast_enabled(x.device.type):
        return module(x)
    with torch.autocast(x.device.type, enabled=False):
        return module(x.float())
