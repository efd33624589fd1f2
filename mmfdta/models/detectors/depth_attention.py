# Copyright (c) mmfdta authors.
"""Depth cross-attention for the decoder layers of any DETR of MMDetection."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmdet.utils import OptConfigType
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from ..adapters import DepthFeatures
from ..layers import DetrAttention


def add_depth_attention(
    layer: nn.Module, embed_dims: int, gated: bool = False, **kwargs: Any
) -> None:
    """Add the modules for :func:`look_at_depth` to a layer.

    Args:
        layer: Gets ``depth_attn``, ``depth_norm`` and ``depth_attn_gate``.
        embed_dims: Channels C of queries and embedding.
        gated: Add a gate: one factor per channel, initially 0, for the share of the
            result that replaces the query. A trained decoder so starts unchanged.
        **kwargs: Further arguments of :class:`DetrAttention`.
    """
    layer.depth_attn = DetrAttention(embed_dims, **kwargs)
    layer.depth_norm = nn.LayerNorm(embed_dims)
    gate = nn.Parameter(torch.zeros(embed_dims)) if gated else None
    layer.register_parameter('depth_attn_gate', gate)


def look_at_depth(layer: Any, query: Tensor, depth: DepthFeatures) -> Tensor:
    """Let queries attend to the depth embedding: attention, residual and norm.

    The queries have no positions; keys and values are the embedding itself. Section 3.2
    of the paper. A gate g, which is not in the paper, gives ``q + g (d - q)`` for the
    query q and the paper's result d: for 0 the query itself, for 1 the paper's result.

    Args:
        layer: See :func:`add_depth_attention`.
        query: (F, Q, C).
        depth: Output of the Spatial Adapter for the F frames.

    Returns:
        (F, Q, C).
    """
    seen = layer.depth_norm(
        layer.depth_attn(query, depth.embed, depth.embed, key_padding_mask=depth.mask)
    )
    if layer.depth_attn_gate is None:
        return seen
    return query + layer.depth_attn_gate * (seen - query)


class DepthAttention(BaseModule):
    """Depth attention as a separate module, see :func:`look_at_depth`.

    Args:
        embed_dims: Channels C of queries and embedding.
        num_heads: Heads of the attention; divides C.
        dropout: Dropout on attention weights and output.
        gated: A gate that starts closed, see :func:`add_depth_attention`.
        **kwargs: Further arguments of :class:`DetrAttention`.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int = 8,
        dropout: float = 0.0,
        gated: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        kwargs.update(num_heads=num_heads, dropout=dropout)
        add_depth_attention(self, embed_dims, gated, **kwargs)

    def init_weights(self) -> None:
        """Initialise the weights as MMDetection does for its decoders."""
        super().init_weights()
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.xavier_uniform_(weight)

    def forward(self, query: Tensor, depth: DepthFeatures) -> Tensor:
        """Attend to the depth of the frames, see :func:`look_at_depth`."""
        return look_at_depth(self, query, depth)


class DepthLayers(ModuleList):
    """One :class:`DepthAttention` for each decoder layer of a host.

    The layers themselves, their classes and the names of their weights do not change.
    During :meth:`attending`, the queries of every layer go through its attention right
    before the FFN, as in :class:`FDTADecoderLayer`: after self-attention,
    cross-attention and their norms. This includes denoising queries, which use the same
    layers.

    Args:
        decoder_layers: The layers, each with its FFN as ``ffn``, which takes queries
            (F, Q, C) or (F * Q, C).
        embed_dims: Channels of their queries.
        attn_cfg: Arguments of :class:`DepthAttention`. By default, ``num_heads`` and
            ``dropout`` are those of the layers' self-attention.

    Raises:
        ValueError: If there is no layer, or a layer has no ``ffn``.
    """

    def __init__(
        self,
        decoder_layers: Sequence[nn.Module],
        embed_dims: int,
        attn_cfg: OptConfigType = None,
    ) -> None:
        if not decoder_layers:
            raise ValueError(
                'model.detector.spatial_adapter: found a host without decoder layers, '
                'whose queries could attend to depth; remove the adapter'
            )
        for index, layer in enumerate(decoder_layers):
            if not isinstance(getattr(layer, 'ffn', None), nn.Module):
                raise ValueError(
                    f'model.detector.spatial_adapter: decoder layer {index}, a '
                    f'{type(layer).__name__}, has no `ffn`, before which its queries '
                    'attend to depth; remove the adapter, or let `decoder_layers` of '
                    'model.detector.interface return modules that have one'
                )
        cfg = dict(embed_dims=embed_dims, **_like_self_attention(decoder_layers[0]))
        cfg.update(attn_cfg or {})
        super().__init__([DepthAttention(**cfg) for _ in decoder_layers])

    @contextmanager
    def attending(
        self, decoder_layers: Sequence[nn.Module], depth: DepthFeatures
    ) -> Iterator[None]:
        """Let decoder layers attend to depth during a ``with`` block.

        The hooks are removed at its end, also after an error. A forward pass that is
        computed again in the backward pass (activation checkpointing) must enter the
        block again.

        Args:
            decoder_layers: The layers, as many as at construction.
            depth: Depth features of the frames whose queries the layers get.
        """
        embed = depth.embed
        assert embed is not None
        with ExitStack() as stack:
            for layer, attention in zip(decoder_layers, self, strict=True):

                def attend(
                    ffn: nn.Module,
                    args: tuple[Tensor, ...],
                    attention: nn.Module = attention,
                ) -> tuple[Tensor, ...]:
                    # Some hosts flatten the queries of all frames into rows.
                    query = args[0].reshape(embed.shape[0], -1, args[0].shape[-1])
                    return attention(query, depth).view_as(args[0]), *args[1:]

                stack.enter_context(layer.ffn.register_forward_pre_hook(attend))
            yield


def _like_self_attention(layer: nn.Module) -> dict:
    """Return heads and dropout of a layer's self-attention that its config sets."""
    cfg = getattr(layer, 'self_attn_cfg', {})
    names = dict(num_heads='num_heads', attn_drop='dropout', dropout='dropout')
    return {ours: cfg[theirs] for theirs, ours in names.items() if theirs in cfg}
