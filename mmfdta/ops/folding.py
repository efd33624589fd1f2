# Copyright (c) mmfdta authors.
"""Frozen batch normalisation folded into convolutions, at inference only."""

import copy
from typing import Any

import torch
from mmcv.cnn import fuse_conv_bn
from mmdet.models.backbones import ResNet
from torch import Tensor, nn

from .processor import is_recorded


class FoldedResNet(ResNet):
    """MMDetection's ResNet, which runs a folded copy of itself at inference.

    The copy is in channels-last order, in which oneDNN's 1x1 convolutions are 1.2 to
    3.5 times as fast. Its own weights, which are trained and saved, stay as they are.
    The copy is made again when a tensor was replaced or written to. Writing to a
    parameter's ``data`` does not raise its version; a switch between training and
    evaluation therefore also discards the copy.

    With gradients the plain network runs: channels last gains nothing there, and in
    PyTorch 2.13 the backward pass of a strided 1x1 convolution of 8 channels writes
    outside its memory. This also discards the copy, because fused optimisers write to
    weights without raising their versions. Under autocast the copy has autocast's type,
    so that its weights are not converted for every image.

    A network that was built under ``torch.inference_mode`` runs plain, too: PyTorch
    does not count the changes of its tensors, so that a copy could be outdated.
    """

    _folded: tuple[nn.Module, ...] = ()
    _state: tuple = ()
    compiling: tuple[tuple, dict] | None = None

    def __getstate__(self) -> dict:
        state = super().__getstate__()
        state.pop('_folded', None)
        state.pop('compiling', None)
        return state

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the copy, which runs at inference; arguments as of ``nn.Module``."""
        self.compiling = args, kwargs
        self._folded = ()

    def train(self, mode: bool = True) -> 'FoldedResNet':
        """Switch between training and evaluation, and discard the copy."""
        self._folded = ()
        return super().train(mode)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the levels of images (F, 3, H, W), finest first."""
        if is_recorded():
            return super().forward(x)
        if self.training or torch.is_grad_enabled():
            self._folded = ()
            return super().forward(x)
        dtype = _autocast_type(x.device.type)
        tensors = [*self.parameters(), *self.buffers()]
        if any(tensor.is_inference() for tensor in tensors):
            self._folded = ()
            return super().forward(x)
        state = dtype, *((t.data_ptr(), t._version) for t in tensors)
        if not self._folded or state != self._state:
            plain = ResNet.__new__(ResNet)
            plain.__dict__.update(self.__getstate__())
            folded = fuse_conv_bn(copy.deepcopy(plain))
            folded = folded.to(dtype=dtype, memory_format=torch.channels_last)
            if self.compiling is not None:
                args, kwargs = self.compiling
                folded.compile(*args, **kwargs)
            # In a tuple, so that it does not become a submodule.
            self._folded = (folded,)
            self._state = state
        if x.device.type == 'cpu':
            x = x.contiguous(memory_format=torch.channels_last)
        return self._folded[0](x)


def _autocast_type(device: str) -> torch.dtype | None:
    """Return the type of convolutions under autocast; None without autocast."""
    return (
        torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    )
