# Copyright (c) mmfdta authors.
"""MOTR's detector: Deformable DETR whose decoder also takes track queries."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor, nn

from mmfdta.ops.deformable_attention.levels import LevelShapes

from ..layers import DetrAttention, in_float32
from .base import FrameDetector
from .layers import FDTADecoder, FDTADecoderLayer
from .outputs import DetectorOutputs


@dataclass
class TrackQueries:
    """Queries of one frame."""

    embeddings: Tensor
    """(Q, 2C), position and content of each query."""
    points: Tensor
    """(Q, 2) reference points, xy in 0..1 of the unpadded image."""

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: Tensor) -> 'TrackQueries':
        return TrackQueries(
            self.embeddings.index_select(0, index), self.points.index_select(0, index)
        )

    def followed_by(self, tracks: 'TrackQueries') -> 'TrackQueries':
        """Concatenate these queries and those of ``tracks``."""
        return TrackQueries(
            torch.cat([self.embeddings, tracks.embeddings]),
            torch.cat([self.points, tracks.points]),
        )


class MOTRDecoderLayer(FDTADecoderLayer):
    """Self-attention among tracks, then Deformable DETR's layer on all queries.

    The first step is in the released models (``--extra_track_attn``), not in the
    paper.

    Args:
        num_detect_queries: Queries before the first track query.
        **kwargs: Arguments of :class:`FDTADecoderLayer`.
    """

    def __init__(self, num_detect_queries: int, **kwargs: Any) -> None:
        self.num_detect_queries = num_detect_queries
        super().__init__(**kwargs)

    def _init_layers(self) -> None:
        super()._init_layers()
        self.track_attn = DetrAttention(**self.self_attn_cfg)
        self.track_norm = nn.LayerNorm(self.embed_dims)

    def forward(  # type: ignore[override]
        self, query: Tensor, query_pos: Tensor, **kwargs: Any
    ) -> Tensor:
        """Run the layer.

        Args:
            query: Content of the queries (F, Q, C), detect queries first.
            query_pos: Position of the queries (F, Q, C).
            **kwargs: Further arguments of :class:`FDTADecoderLayer`.

        Returns:
            (F, Q, C).
        """
        detect, tracks = query.tensor_split((self.num_detect_queries,), dim=1)
        if tracks.shape[1]:
            pos = query_pos[:, self.num_detect_queries :]
            tracks = self.track_attn(tracks, query_pos=pos, key_pos=pos)
            query = torch.cat([detect, self.track_norm(tracks)], dim=1)
        return super().forward(query, query_pos, **kwargs)


class MOTRDecoder(FDTADecoder):
    """MMDetection's decoder with :class:`MOTRDecoderLayer`."""

    layer_class = MOTRDecoderLayer


@dataclass
class EncodedFrames:
    """Encoder memory of F frames, and further inputs of the decoder."""

    memory: Tensor
    """(F, S, C)."""
    memory_mask: Tensor | None
    """(F, S) bool, True = padding; None without padding."""
    spatial_shapes: Tensor
    """(L, 2) height and width of the levels."""
    level_start_index: Tensor
    """(L,)."""
    valid_ratios: Tensor
    """(F, L, 2) share of each level that is not padding."""
    level_shapes: LevelShapes
    """Height and width of the levels, on the host."""

    def split(self) -> Iterator['EncodedFrames']:
        """Yield the frames one by one."""
        for i in range(len(self.memory)):
            mask = self.memory_mask
            yield EncodedFrames(
                self.memory[i : i + 1],
                None if mask is None else mask[i : i + 1],
                self.spatial_shapes,
                self.level_start_index,
                self.valid_ratios[i : i + 1],
                self.level_shapes,
            )


@MODELS.register_module()
class MOTRDetector(FrameDetector):
    """The detector of MOTR (arXiv 2105.03247, Sec. 3.2).

    MMDetection's Deformable DETR (iterative box refinement, one stage) in two halves:
    frames are encoded independently, and decoded with detect queries, which find new
    objects, and track queries. ``num_queries`` is the number of detect queries.

    Args:
        *args: Arguments of MMDetection's ``DeformableDETR``.
        **kwargs: As ``args``; ``as_two_stage`` must be False.

    Raises:
        ValueError: If ``as_two_stage`` is set.
    """

    def _init_layers(self) -> None:
        decoder = self.decoder
        super()._init_layers()
        layer_cfg = dict(decoder['layer_cfg'], num_detect_queries=self.num_queries)
        self.decoder = MOTRDecoder(**{**decoder, 'layer_cfg': layer_cfg})

    def detect_queries(self) -> TrackQueries:
        """Return the learned queries that find new objects."""
        embeddings = self.query_embedding.weight
        position = embeddings[:, : self.embed_dims]
        points = in_float32(self.reference_points_fc, position)
        return TrackQueries(embeddings, points.sigmoid())

    def track_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that only track queries use."""
        for layer in self.decoder.layers:
            yield from layer.track_attn.parameters()
            yield from layer.track_norm.parameters()

    def encode(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> EncodedFrames:
        """Run backbone, neck and encoder.

        Args:
            batch_inputs: Normalised frames (F, 3, H, W).
            batch_data_samples: Their meta information.

        Returns:
            Inputs of the decoder for all F frames.
        """
        encoder_inputs, decoder_inputs = self.pre_transformer(
            self.extract_feat(batch_inputs), batch_data_samples
        )
        memory = self.forward_encoder(**encoder_inputs)['memory']
        return EncodedFrames(memory, **decoder_inputs)

    def decode(self, encoded: EncodedFrames, queries: TrackQueries) -> DetectorOutputs:
        """Decode the queries in one frame.

        Args:
            encoded: The frame (F = 1).
            queries: Detect queries, then track queries.

        Returns:
            Raw outputs of all decoder layers.
        """
        query_pos, query = torch.chunk(queries.embeddings[None], 2, dim=-1)
        head_inputs = self.forward_decoder(
            query=query,
            query_pos=query_pos,
            reference_points=queries.points[None],
            memory=encoded.memory,
            memory_mask=encoded.memory_mask,
            spatial_shapes=encoded.spatial_shapes,
            level_start_index=encoded.level_start_index,
            valid_ratios=encoded.valid_ratios,
            level_shapes=encoded.level_shapes,
        )
        return self.bbox_head(**head_inputs)
