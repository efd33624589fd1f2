# Copyright (c) mmfdta authors.
"""Query interaction module: how a track query becomes that of the next frame."""

import torch
from mmdet.registry import MODELS
from mmdet.utils import OptMultiConfig
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..detectors import TrackQueries
from ..layers import FFN, TransformerEncoderLayer


@MODELS.register_module()
class QueryInteraction(BaseModule):
    """MOTR's temporal aggregation network (arXiv 2105.03247, Sec. 3.5).

    The decoder states of the tracks look at each other; what comes out renews
    position and content of the queries, each through a residual FFN. The next
    reference point is the centre of the predicted box.

    Args:
        embed_dims (int): Number of channels C.
        num_heads (int): Heads of the self-attention.
        feedforward_channels (int): Hidden channels of the FFNs.
        dropout (float): Dropout on attention weights and all branches.
        init_cfg (dict, optional): Initialisation config.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        feedforward_channels: int = 1024,
        dropout: float = 0.0,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg)
        sizes = embed_dims, feedforward_channels
        self.layer = TransformerEncoderLayer(
            embed_dims, num_heads, feedforward_channels, dropout
        )
        self.position_ffn = FFN(*sizes, dropout=dropout)
        self.position_norm = nn.LayerNorm(embed_dims)
        self.content_ffn = FFN(*sizes, dropout=dropout)
        self.content_norm = nn.LayerNorm(embed_dims)
        self.dropout = nn.Dropout(dropout)

    def init_weights(self) -> None:
        """Draw the matrices as the released code does; biases keep their values."""
        super().init_weights()
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.xavier_uniform_(p)

    def forward(
        self, queries: TrackQueries, states: Tensor, boxes: Tensor
    ) -> TrackQueries:
        """Renew the queries of N tracks.

        Args:
            queries (TrackQueries): What the decoder was asked with.
            states (Tensor): Its last layer's output (N, C).
            boxes (Tensor): Predicted cxcywh in 0..1, (N, 4).

        Returns:
            TrackQueries: What to ask the next frame with.
        """
        if not len(queries):
            return queries
        position, content = torch.chunk(queries.embeddings, 2, dim=-1)
        x = self.layer(states[None], position[None])[0]
        position = self.position_norm(position + self.dropout(self.position_ffn(x)))
        content = self.content_norm(content + self.dropout(self.content_ffn(x)))
        return TrackQueries(
            torch.cat([position, content], dim=-1), boxes[:, :2].detach().float()
        )
