# Copyright (c) mmfdta authors.
"""Deformable DETR's decoder in which tracks first look at each other."""

import torch
from mmdet.models.layers import DeformableDetrTransformerDecoder
from mmengine.model import ModuleList
from torch import Tensor, nn

from ..layers import DetrAttention
from .layers import FDTADecoderLayer


class MOTRDecoderLayer(FDTADecoderLayer):
    """Self-attention among tracks, then Deformable DETR's layer on all queries.

    The first step is in the released models (``--extra_track_attn``), not in the
    paper.

    Args:
        num_detect_queries (int): Queries before the first track query.
        **kwargs: Arguments of :class:`FDTADecoderLayer`.
    """

    def __init__(self, num_detect_queries: int, **kwargs) -> None:
        self.num_detect_queries = num_detect_queries
        super().__init__(**kwargs)

    def _init_layers(self) -> None:
        super()._init_layers()
        self.track_attn = DetrAttention(**self.self_attn_cfg)
        self.track_norm = nn.LayerNorm(self.embed_dims)

    def forward(self, query: Tensor, query_pos: Tensor, **kwargs) -> Tensor:
        """Run the layer.

        Args:
            query (Tensor): Content of the queries (F, Q, C), detect
                queries first.
            query_pos (Tensor): Position of the queries (F, Q, C).
            **kwargs: Further arguments of :class:`FDTADecoderLayer`.

        Returns:
            Tensor: (F, Q, C).
        """
        detect, tracks = query.tensor_split((self.num_detect_queries,), dim=1)
        if tracks.shape[1]:
            pos = query_pos[:, self.num_detect_queries :]
            tracks = self.track_attn(tracks, query_pos=pos, key_pos=pos)
            query = torch.cat([detect, self.track_norm(tracks)], dim=1)
        return super().forward(query, query_pos, **kwargs)


class MOTRDecoder(DeformableDetrTransformerDecoder):
    """MMDetection's decoder, of :class:`MOTRDecoderLayer`."""

    def _init_layers(self) -> None:
        self.layers = ModuleList(
            MOTRDecoderLayer(**self.layer_cfg) for _ in range(self.num_layers)
        )
        self.embed_dims = self.layers[0].embed_dims
