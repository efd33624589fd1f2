# Copyright (c) mmfdta authors.
"""Trajectory modelling: detector embeddings become trajectory features."""

from mmdet.registry import MODELS
from mmdet.utils import OptMultiConfig
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..layers import FFN


@MODELS.register_module()
class TrajectoryModeling(BaseModule):
    """Two residual feed-forward networks on the trajectory side.

    ``x = LN(x + FFN(x))`` twice, each observation on its own (from MOTIP).

    Args:
        embed_dims (int): Channels C.
        ffn_ratio (int): Hidden channels of the FFNs over C.
        init_cfg (dict, optional): Initialisation config.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        ffn_ratio: int = 2,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg)
        hidden = embed_dims * ffn_ratio
        self.adapter = FFN(embed_dims, hidden, activation='gelu')
        self.norm = nn.LayerNorm(embed_dims)
        self.ffn = FFN(embed_dims, hidden, activation='gelu')
        self.ffn_norm = nn.LayerNorm(embed_dims)

    def init_weights(self) -> None:
        """Xavier-initialise the linear layers."""
        super().init_weights()
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.xavier_uniform_(p)

    def forward(self, features: Tensor) -> Tensor:
        """Map trajectory features (..., C) to (..., C)."""
        features = self.norm(features + self.adapter(features))
        return self.ffn_norm(features + self.ffn(features))
