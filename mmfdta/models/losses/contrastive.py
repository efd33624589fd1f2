# Copyright (c) mmfdta authors.
"""Contrastive supervision of the Identity Adapter."""

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from mmfdta.ops.linear import gram


@MODELS.register_module()
class QualityAwareContrastiveLoss(nn.Module):
    """Contrastive loss weighted by how well the boxes fit (paper, Sec. 3.4).

    Embeddings of one identity are pulled together and pushed off those of the other
    identities of the same chunk of frames. With s_ij the cosine similarity over the
    temperature t, P_i the other embeddings of anchor i's identity, N_i those of other
    identities and q the qualities, a chunk's loss is::

        l_ij = -log(exp(s_ij) / (exp(s_ij) + sum_{k in N_i} exp(s_ik)))
        w_ij = 2 q_i q_j / (q_i + q_j)
        L    = t mean_i mean_{j in P_i} w_ij l_ij

    over the anchors that have a positive. A pair's denominator holds neither i nor the
    other positives.

    Args:
        temperature: Divides the cosine similarities and multiplies the loss.
        quality_thr: Embeddings of a lower quality take no part. At least 0.
        reduction: 'sum' adds the values of the chunks up, so that longer clips weigh
            more (what the published weights were trained with); 'mean' averages them.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        quality_thr: float = 0.5,
        reduction: str = 'sum',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f'temperature: found {temperature}, expected more than 0')
        if quality_thr < 0:
            raise ValueError(f'quality_thr: found {quality_thr}, expected at least 0')
        if reduction not in ('sum', 'mean'):
            raise ValueError(
                f"reduction: found {reduction!r}, expected 'sum' or 'mean'"
            )
        self.temperature = temperature
        self.quality_thr = quality_thr
        self.reduction = reduction
        self.loss_weight = loss_weight

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        qualities: Tensor,
        chunk_ids: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss, in float32 at least.

        Args:
            embeddings: (n, C), as they leave the identity MLP (not normalised).
            labels: (n,) int64 identities, comparable within a chunk.
            qualities: (n,) GIoU of the matched box with its ground truth.
            chunk_ids: (n,) int64, which chunk (consecutive frames of one clip) each
                embedding is of; pairs never cross chunks. None: all are of one.

        Returns:
            Scalar; 0 with a zero gradient if there is no positive pair.
        """
        dtype = torch.promote_types(embeddings.dtype, torch.float32)
        # Keeps the gradient where nothing takes part.
        loss = embeddings.sum(dtype=dtype) * 0
        if chunk_ids is None:
            chunk_ids = torch.zeros_like(labels)
        good = qualities >= self.quality_thr
        with torch.autocast(embeddings.device.type, enabled=False):
            unit = F.normalize(embeddings.to(dtype), dim=1)
            chunks = chunk_ids.unique()
            for chunk in chunks:
                here = good & (chunk_ids == chunk)
                loss = loss + self._contrast(unit[here], labels[here], qualities[here])
        if self.reduction == 'mean':
            loss = loss / max(1, len(chunks))
        return self.loss_weight * loss

    def _contrast(self, unit: Tensor, label: Tensor, quality: Tensor) -> Tensor:
        """Loss of one chunk, of embeddings (n, C) of length 1."""
        same = label[:, None] == label
        similarity = gram(unit / self.temperature**0.5)
        negatives = torch.where(same, -torch.inf, similarity).logsumexp(1)
        positive = same.clone().fill_diagonal_(False)
        i, j = positive.nonzero(as_tuple=True)
        # -log(exp(s) / (exp(s) + exp(n))) = log(1 + exp(n - s))
        term = F.softplus(negatives[i] - similarity[i, j])
        # The harmonic mean, which is 0 where a quality is.
        weight = 2 / (1 / quality[i] + 1 / quality[j])
        count = positive.sum(1)
        anchors = (count > 0).sum().clamp(min=1)
        return self.temperature * (weight * term / count[i]).sum() / anchors
