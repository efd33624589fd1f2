# Copyright (c) mmfdta authors.
"""Which queries go on as tracks while training."""

from dataclasses import dataclass

import torch
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps
from torch import Tensor


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
            identities (Tensor): int64 (Q,), -1 for a query without an object.
            ious (Tensor): float (Q,), overlap with the object.
            boxes (Tensor): Predicted cxcywh (Q, 4).

        Returns:
            Tensor: int64, indices of the tracks that stay, then of those inserted.
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
