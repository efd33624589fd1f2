# Copyright (c) mmfdta authors.
"""The trajectory side of association: training sequences, and their features."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.utils import OptMultiConfig
from mmengine.model import BaseModule
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ..layers import FFN


@dataclass
class Sequences:
    """Inputs and targets of the association for B clips.

    Shapes use B clips, G augmentation groups, T frames, N identities, C
    channels. Masks are True where there is nothing.
    """

    trajectory_features: Tensor
    """(B, G, T, N, C) embeddings of the history, zero where masked."""
    trajectory_labels: Tensor
    """(B, G, T, N) int64 ID words."""
    trajectory_masks: Tensor
    """(B, G, T, N) bool."""
    unknown_features: Tensor
    """(B, G, T, N, C) embeddings of the detections to name."""
    unknown_labels: Tensor
    """(B, G, T, N) int64 target words; the last word means newborn."""
    unknown_masks: Tensor
    """(B, G, T, N) bool."""


def _pad_identities(tensors: list[Tensor], value: int | bool) -> Tensor:
    """Stack (G, T, N_b) tensors of the clips to (B, G, T, max N), N at least 1."""
    # Also without any identity every parameter takes part, as DDP wants.
    num_ids = max(1, *(t.shape[-1] for t in tensors))
    out = tensors[0].new_full((len(tensors), *tensors[0].shape[:-1], num_ids), value)
    for row, tensor in zip(out, tensors, strict=True):
        row[..., : tensor.shape[-1]] = tensor
    return out


def _gather(embeddings: Tensor, query: Tensor) -> Tensor:
    """Pick the embeddings of queries.

    Args:
        embeddings: (B, T, Q, C).
        query: (B, G, T, N) query of the same clip and frame, -1 for none.

    Returns:
        (B, G, T, N, C), 0 where there is no query.
    """
    batch, frames, queries = embeddings.shape[:3]
    first = torch.arange(batch * frames, device=query.device) * queries
    rows = query.clamp(min=0) + first.view(batch, 1, frames, 1)
    features = F.embedding(rows, embeddings.flatten(0, 2))
    return features.masked_fill_(query[..., None] < 0, 0)


def build_sequences(
    embeddings: Tensor, query_idx: Tensor, id_targets: list[BaseDataElement]
) -> Sequences:
    """Turn matched embeddings and ID targets into training sequences.

    An annotation that no query was matched to (more objects in a frame than
    queries) is treated as missing.

    Args:
        embeddings: Object embeddings (B, T, Q, C).
        query_idx: Matched query of each annotation (B, T, M), -1 where there is none.
        id_targets: ``id_targets`` of each clip, tensors (G, T, N) as made by the data
            pipeline.

    Returns:
        Padded to the largest N of the batch.
    """
    batch, frames = query_idx.shape[:2]
    b = torch.arange(batch, device=query_idx.device).view(-1, 1, 1, 1)
    t = torch.arange(frames, device=query_idx.device).view(1, 1, -1, 1)
    parts = {}
    for side in ('trajectory', 'unknown'):
        ann = _pad_identities([x.get(f'{side}_ann_idxs') for x in id_targets], -1)
        mask = _pad_identities([x.get(f'{side}_id_masks') for x in id_targets], True)
        label = _pad_identities([x.get(f'{side}_id_labels') for x in id_targets], -1)
        if query_idx.shape[-1]:
            query = query_idx[b, t, ann.clamp(min=0)].masked_fill_(mask, -1)
            mask = query < 0
            features = _gather(embeddings, query)
        else:
            features = embeddings.new_zeros(*ann.shape, embeddings.shape[-1])
        parts[side] = features, label, mask
    return Sequences(*parts['trajectory'], *parts['unknown'])


@MODELS.register_module()
class TrajectoryModeling(BaseModule):
    """Two residual feed-forward networks on the trajectory side.

    ``x = LN(x + FFN(x))`` twice, each observation on its own (from MOTIP).

    Args:
        embed_dims: Channels C.
        ffn_ratio: Hidden channels of the FFNs over C.
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
