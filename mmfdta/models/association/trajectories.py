# Copyright (c) mmfdta authors.
"""Training sequences of association, and modelling of trajectory features."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.utils import OptMultiConfig
from mmengine.model import BaseModule
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmfdta.utils.transfers import to_device

from ..layers import FFN


@dataclass
class Sequences:
    """Inputs and targets of the association for B clips.

    Shapes use B clips, G augmentation groups, T frames, N identities, C channels. Masks
    are True for missing observations.
    """

    trajectory_features: Tensor
    """(B, G, T, N, C) embeddings of the history, zero where masked."""
    trajectory_labels: Tensor
    """(B, G, T, N) int64 ID words."""
    trajectory_masks: Tensor
    """(B, G, T, N) bool."""
    unknown_features: Tensor
    """(B, G, T, N, C) embeddings of the detections to identify."""
    unknown_labels: Tensor
    """(B, G, T, N) int64 target words; the last word means newborn."""
    unknown_masks: Tensor
    """(B, G, T, N) bool."""


def _pad_identities(tensors: list[Tensor], value: int | bool) -> Tensor:
    """Stack (G, T, N_b) tensors of the clips to (B, G, T, max N), N at least 1."""
    # DDP needs a gradient for every parameter, also without any identity.
    num_ids = max(1, *(t.shape[-1] for t in tensors))
    out = tensors[0].new_full((len(tensors), *tensors[0].shape[:-1], num_ids), value)
    for row, tensor in zip(out, tensors, strict=True):
        row[..., : tensor.shape[-1]] = tensor
    return out


def build_sequences(
    embeddings: Tensor, query_idx: Tensor, id_targets: list[BaseDataElement]
) -> Sequences:
    """Make training sequences from matched embeddings and ID targets.

    An annotation without a matched query (if a frame has more objects than queries) is
    treated as missing. Indices are computed on the host and copied to the device of the
    embeddings in one copy, without waiting.

    Args:
        embeddings: Object embeddings (B, T, Q, C).
        query_idx: Matched query of each annotation (B, T, M), -1 for none, on the host.
        id_targets: ``id_targets`` of each clip, tensors (G, T, N) from the data
            pipeline.

    Returns:
        The sequences, padded to the largest N of the batch.
    """
    batch, frames, queries = embeddings.shape[:3]
    b = torch.arange(batch).view(-1, 1, 1, 1)
    t = torch.arange(frames).view(1, 1, -1, 1)
    first = (b * frames + t) * queries
    tensors: list[Tensor] = []
    for side in ('trajectory', 'unknown'):
        ann, mask, label = (
            _pad_identities([x.get(f'{side}_{field}').cpu() for x in id_targets], value)
            for field, value in (
                ('ann_idxs', -1),
                ('id_masks', True),
                ('id_labels', -1),
            )
        )
        if query_idx.shape[-1]:
            query = query_idx[b, t, ann.clamp(min=0)].masked_fill_(mask, -1)
        else:
            query = torch.full_like(ann, -1)
        tensors += [first + query.clamp(min=0), label, query < 0]
    table = embeddings.flatten(0, 2)
    parts: list[Tensor] = []
    tensors = to_device(tensors, embeddings.device)
    for rows, label, mask in (tensors[:3], tensors[3:]):
        features = F.embedding(rows, table)
        parts += [features.masked_fill_(mask[..., None], 0), label, mask]
    return Sequences(*parts)


@MODELS.register_module()
class TrajectoryModeling(BaseModule):
    """Two residual feed-forward networks on the trajectory side.

    ``x = LN(x + FFN(x))`` twice, for each observation separately (from MOTIP).

    Args:
        embed_dims: Channels C.
        ffn_ratio: Hidden channels of the FFNs relative to C.
        init_cfg: Initialisation config.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        ffn_ratio: int = 2,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg)
        channels = embed_dims * ffn_ratio
        self.adapter = FFN(embed_dims, channels, activation='gelu')
        self.norm = nn.LayerNorm(embed_dims)
        self.ffn = FFN(embed_dims, channels, activation='gelu')
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
