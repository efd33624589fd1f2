# Copyright (c) mmfdta authors.
"""Deformable DETR's decoder with depth cross-attention."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mmdet.models.layers import (
    DeformableDetrTransformerDecoder,
    DeformableDetrTransformerDecoderLayer,
)
from mmdet.utils import OptConfigType
from mmengine.model import ModuleList
from torch import Tensor

from ..adapters import DepthFeatures
from ..layers import DetrAttention, in_float32
from .depth_attention import add_depth_attention, look_at_depth


class FDTADecoderLayer(DeformableDetrTransformerDecoderLayer):
    """Self-attention, deformable and depth cross-attention, and FFN; post-norm.

    Depth attention is :func:`look_at_depth`. Section 3.2 of the paper.

    Args:
        depth_attn_cfg: Arguments of the depth attention, ``embed_dims``, ``num_heads``,
            ``dropout`` and ``gated`` (see :func:`add_depth_attention`); without it
            (None) this is Deformable DETR's layer.
        **kwargs: Arguments of MMDetection's layer.
    """

    def __init__(self, depth_attn_cfg: OptConfigType = None, **kwargs: Any) -> None:
        self.depth_attn_cfg = depth_attn_cfg
        super().__init__(**kwargs)

    def _init_layers(self) -> None:
        super()._init_layers()
        self.self_attn = DetrAttention(**self.self_attn_cfg)
        self.with_depth = self.depth_attn_cfg is not None
        if self.with_depth:
            add_depth_attention(self, **self.depth_attn_cfg)

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None,
        depth: DepthFeatures | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Run the layer.

        Args:
            query: Content of the queries (F, Q, C).
            query_pos: Position of the queries (F, Q, C).
            value: Encoder memory (F, S, C).
            key_padding_mask: Padding of the memory (F, S) bool, True = padding.
            depth: Output of the Spatial Adapter.
            **kwargs: Arguments of deformable attention.

        Returns:
            (F, Q, C).
        """
        query = self.norms[0](
            self.self_attn(query, query_pos=query_pos, key_pos=query_pos)
        )
        query = self.cross_attn(
            query,
            value=value,
            query_pos=query_pos,
            key_padding_mask=key_padding_mask,
            **kwargs,
        )
        query = self.norms[1](query)
        if self.with_depth:
            assert depth is not None
            query = look_at_depth(self, query, depth)
        return self.norms[2](self.ffn(query))


class FDTADecoder(DeformableDetrTransformerDecoder):
    """MMDetection's decoder with :class:`FDTADecoderLayer`."""

    layer_class: type[FDTADecoderLayer] = FDTADecoderLayer

    def _init_layers(self) -> None:
        self.layers = ModuleList(
            self.layer_class(**self.layer_cfg) for _ in range(self.num_layers)
        )
        self.embed_dims = self.layers[0].embed_dims

    def forward(
        self,
        *args: Any,
        reg_branches: Sequence[Callable[[Tensor], Tensor]] | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Run the decoder; reference points stay in float32 under autocast.

        Args:
            *args: Arguments of MMDetection's decoder.
            reg_branches: Box branch of each layer, which refines its points; None for
                no refinement.
            **kwargs: As ``args``.

        Returns:
            States (L, F, Q, C) and reference points or boxes (L, F, Q, 2 or 4).
        """
        if reg_branches is not None:
            reg_branches = [partial(in_float32, branch) for branch in reg_branches]
        return super().forward(*args, reg_branches=reg_branches, **kwargs)
