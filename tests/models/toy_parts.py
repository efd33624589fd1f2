# Copyright (c) mmfdta authors.
"""A few weights in the parts of FDTA, with the contrastive loss on or off."""

import torch
from torch import Tensor, nn

from mmfdta.models.adapters import IdentityAdapter


class Toy(nn.Module):
    """A detector, the adapter on its embeddings, and another part."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.detector = nn.Linear(6, 8)
        self.other = nn.Linear(8, 1)
        self.identity_adapter = IdentityAdapter(8, 8)

    def forward(self, step: int, contrast: bool, zeros: bool) -> Tensor:
        """Loss of a step; ``zeros`` as models give DDP its gradients."""
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(12, 6, generator=generator)
        embeddings = self.detector(x)
        loss = self.other(embeddings).square().mean()
        if contrast:
            labels = torch.arange(12) % 3
            projected = self.identity_adapter(embeddings)
            loss = loss + self.identity_adapter.loss_contrastive(
                projected, labels, torch.ones(12)
            )
        elif zeros:
            loss = loss + 0.0 * sum(p.sum() for p in self.identity_adapter.parameters())
        return loss
