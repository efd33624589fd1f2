# Copyright (c) mmfdta authors.
"""DINO that fits weights of MMDetection's zoo, in both families and at any width."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.detectors import DINO
from mmdet.models.layers import DinoTransformerDecoder
from mmdet.models.layers.transformer.utils import (
    MLP,
    coordinate_to_encoding,
    inverse_sigmoid,
)
from mmdet.registry import MODELS
from torch import Tensor, nn


class ZooDINODecoder(DinoTransformerDecoder):
    """MMDetection's decoder, with half the channels of the queries per number of a box.

    OpenMMLab's decoder does this for queries of 256 channels and fails for others. The
    decoder of OneDL's fork encodes each number with all channels: its first layer is
    twice as wide, and weights of the zoo do not fit.
    """

    def _init_layers(self) -> None:
        super()._init_layers()
        channels = self.embed_dims
        self.ref_point_head = MLP(2 * channels, channels, channels, 2)

    def forward(
        self,
        query: Tensor,
        valid_ratios: Tensor,
        reference_points: Tensor,
        reg_branches: Sequence[nn.Module],
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Run the layers, each of which refines the boxes of the one before.

        Args:
            query: Content of the queries (F, Q, C).
            valid_ratios: (F, L, 2) share of each level that is not padding, x first.
            reference_points: Boxes (F, Q, 4), cxcywh in 0..1 of the unpadded image.
            reg_branches: Box branch of each layer.
            **kwargs: Further arguments of MMDetection's decoder, for its layers.

        Returns:
            Normalised states (layers, F, Q, C), and the boxes before the first and
            after each layer (layers + 1, F, Q, 4).
        """
        shares = valid_ratios.repeat(1, 1, 2)[:, None]
        states, references = [], [reference_points]
        for layer, branch in zip(self.layers, reg_branches, strict=False):
            points = reference_points[:, :, None] * shares
            encoded = coordinate_to_encoding(
                points[:, :, 0], num_feats=self.embed_dims // 2
            )
            query = layer(
                query,
                query_pos=self.ref_point_head(encoded),
                valid_ratios=valid_ratios,
                reference_points=points,
                **kwargs,
            )
            step = branch(query) + inverse_sigmoid(reference_points, eps=1e-3)
            references.append(step.sigmoid())
            # A layer also learns from the boxes of the next one, but not through the
            # reference points of that layer's queries.
            reference_points = references[-1].detach()
            states.append(self.norm(query))
        return torch.stack(states), torch.stack(references)


@MODELS.register_module()
class ZooDINO(DINO):
    """MMDetection's DINO with :class:`ZooDINODecoder`.

    With 256 channels it is OpenMMLab's ``DINO``, by names, shapes and values.
    """

    decoder: Any  # its config, until `_init_layers` builds it

    def _init_layers(self) -> None:
        decoder = self.decoder
        super()._init_layers()
        self.decoder = ZooDINODecoder(**decoder)
