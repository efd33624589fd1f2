# Copyright (c) mmfdta authors.
"""MOTR between two frames: which queries go on as tracks, and how they change."""

from dataclasses import dataclass

import torch
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps
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
        embed_dims: Number of channels C.
        num_heads: Heads of the self-attention.
        feedforward_channels: Hidden channels of the FFNs.
        dropout: Dropout on attention weights and all branches.
        init_cfg: Initialisation config.
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
            queries: What the decoder was asked with.
            states: Its last layer's output (N, C).
            boxes: Predicted cxcywh in 0..1, (N, 4).

        Returns:
            What to ask the next frame with.
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


@dataclass
class QuerySampling:
    """Erase and insert track queries (arXiv 2105.03247, Sec. 4.2 and 4.6).

    A dropped track's object is new again in the next frame, and an inserted query
    must learn to find nothing; so training shows births and deaths more often than
    its short clips have them.

    Attributes:
        drop_prob: Probability that a track is dropped.
        insert_prob: Probability that a track brings the query without an object
            that overlaps it most.
        min_iou: A query goes on if it overlapped its object more than this when the
            object was last seen (Sec. 3.5).
    """

    drop_prob: float = 0.1
    insert_prob: float = 0.3
    min_iou: float = 0.5

    def __call__(self, identities: Tensor, ious: Tensor, boxes: Tensor) -> Tensor:
        """Choose; draws come from PyTorch's global generator.

        Args:
            identities: int64 (Q,), -1 for a query without an object.
            ious: float (Q,), overlap with the object.
            boxes: Predicted cxcywh (Q, 4).

        Returns:
            int64, indices of the tracks that stay, then of those inserted.
        """
        tracks = ((identities >= 0) & (ious > self.min_iou)).nonzero()[:, 0]
        if self.drop_prob > 0:
            tracks = tracks[torch.rand(len(tracks)) > self.drop_prob]
        if self.insert_prob > 0:
            inserted = self._insert(tracks, (identities < 0).nonzero()[:, 0], boxes)
            tracks = torch.cat([tracks, inserted])
        return tracks

    def _insert(self, tracks: Tensor, others: Tensor, boxes: Tensor) -> Tensor:
        """Those of the ``others`` that go on beside the ``tracks``."""
        chance = torch.full((len(tracks),), float(self.insert_prob))
        tracks = tracks[torch.bernoulli(chance).bool()]
        if len(tracks) >= len(others):
            return others if len(tracks) else tracks
        overlaps = bbox_overlaps(
            bbox_cxcywh_to_xyxy(boxes[others]),
            bbox_cxcywh_to_xyxy(boxes[tracks]),
            eps=torch.finfo(torch.float32).tiny,
        )
        return others[overlaps.max(dim=0).indices.unique()]
