# Copyright (c) mmfdta authors.
"""Contrastive supervision of the Identity Adapter."""

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from mmfdta.ops.contrast import contrast
from mmfdta.utils.transfers import to_device


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

        Nothing here waits for the device if ``labels`` and ``chunk_ids`` are on the
        host, which then says which pairs there are; those of low quality weigh 0.

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
        labels = labels.cpu()
        chunk_ids = torch.zeros_like(labels) if chunk_ids is None else chunk_ids.cpu()
        chunks, chunk, sizes = chunk_ids.unique(return_inverse=True, return_counts=True)
        _, names = labels.unique(return_inverse=True)
        anchors, positives = _positive_pairs(names, chunk)
        if not len(anchors):
            # Keeps the gradient where nothing takes part.
            return self.loss_weight * (embeddings.sum(dtype=dtype) * 0)
        rows, present, places = _pad_chunks(chunk, sizes)
        names = names[rows].int()
        tensors = [rows, present, names, places[anchors], places[positives]]
        rows, present, names, i, j = to_device(tensors, embeddings.device)
        quality = qualities[rows]
        good = present & (quality >= self.quality_thr)
        with torch.autocast(embeddings.device.type, enabled=False):
            unit = F.normalize(embeddings.to(dtype), dim=1)[rows]
            loss = contrast(unit, names, quality, good, i, j, self.temperature)
        if self.reduction == 'mean':
            loss = loss / len(chunks)
        return self.loss_weight * loss


def _positive_pairs(names: Tensor, chunk: Tensor) -> tuple[Tensor, Tensor]:
    """Anchor and other embedding, (P,), of all pairs of one name and chunk."""
    key, order = (chunk * len(names) + names).sort(stable=True)
    _, group, sizes = key.unique_consecutive(return_inverse=True, return_counts=True)
    partners = sizes[group]
    first = (sizes.cumsum(0) - sizes)[group]
    anchor = torch.arange(len(order)).repeat_interleave(partners)
    begin = partners.cumsum(0) - partners
    other = first[anchor] + torch.arange(len(anchor)) - begin[anchor]
    different = anchor != other
    return order[anchor[different]], order[other[different]]


def _pad_chunks(chunk: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give K chunks of n embeddings at most their places.

    Args:
        chunk: Chunk of each embedding, 0..K - 1.
        sizes: Embeddings of each chunk.

    Returns:
        The embedding in each place (K, n), which places are taken (K, n), and the place
        of each embedding, counted through all chunks.
    """
    number, widest = len(chunk), int(sizes.max())
    order = chunk.argsort(stable=True)
    chunk = chunk[order]
    places = torch.empty_like(order)
    places[order] = (
        chunk * widest + torch.arange(number) - (sizes.cumsum(0) - sizes)[chunk]
    )
    rows = torch.zeros(len(sizes) * widest, dtype=torch.int64)
    rows[places] = torch.arange(number)
    present = torch.zeros_like(rows, dtype=torch.bool)
    present[places] = True
    return rows.view(-1, widest), present.view(-1, widest), places
