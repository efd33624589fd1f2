# Copyright (c) mmfdta authors.
"""Learning-rate warm-up per iteration."""

from typing import Any

from mmdet.registry import PARAM_SCHEDULERS
from mmengine.optim import LinearLR, OptimWrapper
from torch.optim import Optimizer


@PARAM_SCHEDULERS.register_module()
class IterWarmupLR(LinearLR):
    """Raise the learning rate linearly, iteration i of n runs at (i + 1) / n.

    ``end`` counts epochs with ``by_epoch=True, convert_to_iter_based=True`` and
    iterations otherwise.

    Args:
        optimizer: What to schedule.
        begin: First step of the warm-up.
        end: Step after the last one.
        **kwargs: Arguments of MMEngine's ``LinearLR``.
    """

    def __init__(
        self,
        optimizer: Optimizer | OptimWrapper,
        begin: int = 0,
        *,
        end: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            optimizer, start_factor=1 / (end - begin), begin=begin, end=end, **kwargs
        )
