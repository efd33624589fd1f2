# Copyright (c) mmfdta authors.
"""Frozen batch normalisation folded into convolutions, at inference only."""

import copy

import torch
from mmcv.cnn import fuse_conv_bn
from torch import Tensor, nn


class FoldedBackbone:
    """Keep a copy of a backbone whose convolutions contain their normalisation.

    The backbone itself, what is trained and saved, is never touched. The copy is made
    again whenever a tensor of the backbone was replaced or written to; `clear` covers
    what PyTorch does not count, writing to a parameter's ``data``.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget the copy."""
        self._folded: nn.Module | None = None
        self._state: tuple[tuple[int, int], ...] = ()

    def __deepcopy__(self, memo: dict) -> 'FoldedBackbone':
        return FoldedBackbone()

    def __reduce__(self) -> tuple:
        return FoldedBackbone, ()

    @torch.no_grad()
    def __call__(self, backbone: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
        """Run the copy.

        Args:
            backbone: In evaluation mode.
            images: (F, 3, H, W).

        Returns:
            The backbone's levels.
        """
        tensors = [*backbone.parameters(), *backbone.buffers()]
        state = tuple((t.data_ptr(), t._version) for t in tensors)
        if self._folded is None or state != self._state:
            folded = fuse_conv_bn(copy.deepcopy(backbone))
            self._folded = folded.to(memory_format=torch.channels_last)
            self._state = state
        return self._folded(images)
