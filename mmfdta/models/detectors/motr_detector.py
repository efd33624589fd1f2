# Copyright (c) mmfdta authors.
"""Deformable DETR whose decoder can be asked with track queries."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from mmdet.models.detectors import DeformableDETR
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor, nn

from .fdta_detector import DetectorOutputs, refuse_two_stages
from .motr_layers import MOTRDecoder
from .track_queries import TrackQueries


@dataclass
class EncodedFrames:
    """Encoder memory of F frames, and what the decoder needs beside it."""

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
            )


@MODELS.register_module()
class MOTRDetector(DeformableDETR):
    """The detector of MOTR (arXiv 2105.03247, Sec. 3.2).

    MMDetection's Deformable DETR (iterative box refinement, one stage) in two
    halves: frames are encoded on their own, and decoded with detect queries,
    which find new objects, and track queries. ``num_queries`` counts the detect
    queries.

    Args:
        *args: Arguments of MMDetection's ``DeformableDETR``.
        as_two_stage (bool): Has to be False.
        **kwargs: As ``args``.

    Raises:
        ValueError: If ``as_two_stage`` is set.
    """

    def __init__(self, *args, as_two_stage: bool = False, **kwargs) -> None:
        refuse_two_stages(as_two_stage)
        super().__init__(*args, **kwargs)

    def _init_layers(self) -> None:
        decoder = self.decoder
        super()._init_layers()
        # MMDetection allocates it without values; only `init_weights` would fill it.
        nn.init.normal_(self.level_embed)
        layer_cfg = dict(decoder['layer_cfg'], num_detect_queries=self.num_queries)
        self.decoder = MOTRDecoder(**{**decoder, 'layer_cfg': layer_cfg})

    def detect_queries(self) -> TrackQueries:
        """The learned queries that find new objects."""
        embeddings = self.query_embedding.weight
        points = self.reference_points_fc(embeddings[:, : self.embed_dims])
        return TrackQueries(embeddings, points.float().sigmoid())

    def track_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that only track queries use."""
        for layer in self.decoder.layers:
            yield from layer.track_attn.parameters()
            yield from layer.track_norm.parameters()

    def encode(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> EncodedFrames:
        """Run backbone, neck and encoder.

        Args:
            batch_inputs (Tensor): Normalised frames (F, 3, H, W).
            batch_data_samples (list[DetDataSample]): Their meta information.

        Returns:
            EncodedFrames: Of all F frames.
        """
        encoder_inputs, decoder_inputs = self.pre_transformer(
            self.extract_feat(batch_inputs), batch_data_samples
        )
        memory = self.forward_encoder(**encoder_inputs)['memory']
        return EncodedFrames(memory, **decoder_inputs)

    def decode(self, encoded: EncodedFrames, queries: TrackQueries) -> DetectorOutputs:
        """Ask one frame.

        Args:
            encoded (EncodedFrames): The frame (F = 1).
            queries (TrackQueries): Detect queries first, then those of tracks.

        Returns:
            DetectorOutputs: Raw outputs of all decoder layers.
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
        )
        return self.bbox_head(**head_inputs)
