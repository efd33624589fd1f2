# Copyright (c) mmfdta authors.
"""MOTR between two frames: which queries continue as tracks, and their update."""

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

    The decoder states of the tracks attend to each other. The result updates position
    and content of the queries, each through a residual FFN. The next reference point is
    the centre of the predicted box.

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
        """Initialise the matrices as the released code does; biases do not change."""
        super().init_weights()
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.xavier_uniform_(p)

    def forward(
        self, queries: TrackQueries, states: Tensor, boxes: Tensor
    ) -> TrackQueries:
        """Update the queries of N tracks.

        Args:
            queries: Queries of the current frame.
            states: Outputs of the decoder's last layer for them (N, C).
            boxes: Predicted cxcywh in 0..1, (N, 4).

        Returns:
            Queries for the next frame.
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
    """Drop and insert track queries (arXiv 2105.03247, Sec. 4.2 and 4.6).

    The object of a dropped track is new again in the next frame, and an inserted query
    must learn to find nothing. Training so has more births and deaths than its short
    clips.

    Attributes:
        drop_prob: Probability that a track is dropped.
        insert_prob: Probability that, with a track, the query without an object that
            overlaps it most is inserted.
        min_iou: A query continues if it overlapped its object more than this when the
            object was last visible (Sec. 3.5).

    Raises:
        ValueError: If a probability is not in 0..1.
    """

    drop_prob: float = 0.1
    insert_prob: float = 0.3
    min_iou: float = 0.5

    def __post_init__(self) -> None:
        for name in ('drop_prob', 'insert_prob'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f'model.query_sampling.{name} = {getattr(self, name)}, expected '
                    '0 to 1'
                )

    def __call__(self, identities: Tensor, ious: Tensor, boxes: Tensor) -> Tensor:
        """Choose queries, with random numbers of PyTorch's global generator.

        Args:
            identities: int64 (Q,), -1 for a query without an object.
            ious: float (Q,), overlap with the object.
            boxes: Predicted cxcywh (Q, 4).

        Returns:
            int64, indices of the tracks that are kept, then of the inserted queries.
        """
        tracks = ((identities >= 0) & (ious > self.min_iou)).nonzero()[:, 0]
        if self.drop_prob > 0:
            tracks = tracks[torch.rand(len(tracks)) > self.drop_prob]
        if self.insert_prob > 0:
            inserted = self._insert(tracks, (identities < 0).nonzero()[:, 0], boxes)
            tracks = torch.cat([tracks, inserted])
        return tracks

    def _insert(self, tracks: Tensor, others: Tensor, boxes: Tensor) -> Tensor:
        """Return the ``others`` that are inserted in addition to the ``tracks``."""
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
