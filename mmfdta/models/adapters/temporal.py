# Copyright (c) mmfdta authors.
"""Temporal Adapter: a transformer over the history of each identity."""

import torch
from mmdet.registry import MODELS
from mmdet.utils import OptMultiConfig
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..layers import TransformerEncoderLayer, frame_position_encoding


@MODELS.register_module()
class TemporalAdapter(BaseModule):
    """Let the observations of an identity attend to its earlier ones.

    A causal transformer over the T frames of each trajectory. Frames in which the
    identity is missing are masked as keys, but each position attends to itself, so that
    no row is empty. Section 3.3 of the paper.

    Args:
        embed_dims: Channels C.
        num_layers: Number of layers.
        num_heads: Number of heads.
        feedforward_channels: Hidden channels of the FFN.
        dropout: Dropout.
        init_cfg: Initialisation config.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_layers: int = 6,
        num_heads: int = 8,
        feedforward_channels: int = 512,
        dropout: float = 0.1,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg)
        self.layers = nn.ModuleList(
            TransformerEncoderLayer(
                embed_dims, num_heads, feedforward_channels, dropout
            )
            for _ in range(num_layers)
        )

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        """Refine trajectories.

        Args:
            features: (..., T, N, C), any leading batch dimensions.
            masks: (..., T, N) bool, True = missing in that frame.

        Returns:
            Refined features, same shape. Those of missing frames are finite but
            meaningless; the masks exclude them from later steps.
        """
        num_frames, channels = features.shape[-3], features.shape[-1]
        # (..., T, N, C) -> (... * N, T, C): one sequence per identity.
        x = features.transpose(-3, -2)
        shape = x.shape
        x = x.reshape(-1, num_frames, channels)
        pos = frame_position_encoding(
            num_frames, channels, device=x.device, dtype=x.dtype
        )
        missing = masks.transpose(-2, -1).reshape(-1, num_frames)
        # Fused attention on a GPU needs contiguous masks.
        visible = self._visible(missing.contiguous())
        for layer in self.layers:
            x = layer(x, pos, visible)
        return x.reshape(shape).transpose(-3, -2)

    @staticmethod
    def _visible(missing: Tensor) -> Tensor:
        """(S, T) missing frames -> (S, 1, T, T), True where query sees key."""
        num_frames = missing.shape[-1]
        ones = missing.new_ones(num_frames, num_frames)
        causal = ones.tril() & ~missing[:, None]
        return (causal | torch.eye(num_frames, dtype=torch.bool, device=ones.device))[
            :, None
        ]
