# Copyright (c) mmfdta authors.
"""What MOTR's decoder is asked with: detect queries for new objects, then tracks."""

from dataclasses import dataclass

import torch
from torch import Tensor


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
        return TrackQueries(self.embeddings[index], self.points[index])

    def followed_by(self, tracks: 'TrackQueries') -> 'TrackQueries':
        """These queries and then those of ``tracks``."""
        return TrackQueries(
            torch.cat([self.embeddings, tracks.embeddings]),
            torch.cat([self.points, tracks.points]),
        )
