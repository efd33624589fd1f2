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

    Embeddings of one identity are pulled together and pushed away from those of the
    other identities in the same chunk of frames. With s_ij the cosine similarity over
    the temperature t, P_i the other embeddings of anchor i's identity, N_i those of
    other identities and q the qualities, a chunk's loss is::

        l_ij = -log(exp(s_ij) / (exp(s_ij) + sum_{k in N_i} exp(s_ik)))
        w_ij = 2 q_i q_j / (q_i + q_j)
        L    = t mean_i mean_{j in P_i} w_ij l_ij

    over the anchors that have a positive. The denominator of a pair contains neither i
    nor the other positives.

    Args:
        temperature: Divides the cosine similarities and multiplies the loss; above 0.
        quality_thr: Embeddings of a lower quality are ignored. At least 0.
        reduction: 'sum' adds up the losses of the chunks, so longer clips weigh more
            (the published weights were trained with it); 'mean' averages them, and a
            chunk without a pair counts as 0.
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
        avg_factor: int | None = None,
    ) -> Tensor:
        """Compute the loss, at least in float32.

        Nothing here waits for the device if ``labels`` and ``chunk_ids`` are on the
        host: the host lists all pairs, and those of low quality weigh 0.

        Args:
            embeddings: (n, C) outputs of the identity MLP, not normalised.
            labels: (n,) int64 identities, comparable within a chunk.
            qualities: (n,) GIoU of the matched box with its ground truth.
            chunk_ids: (n,) int64, the chunk (consecutive frames of one clip) of each
                embedding; pairs never cross chunks. None: all belong to one chunk.
            avg_factor: Divisor of the sum over the chunks with 'mean'. None: the number
                of chunks with an embedding.

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
            # The embeddings stay in the graph.
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
            loss = loss / (len(chunks) if avg_factor is None else avg_factor)
        return self.loss_weight * loss


def _positive_pairs(names: Tensor, chunk: Tensor) -> tuple[Tensor, Tensor]:
    """Anchor and positive, (P,) each, of all pairs of one name and chunk."""
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
    """Arrange the embeddings of K chunks in a table (K, n), n the largest chunk's size.

    Args:
        chunk: (N,) int64 chunk of each embedding, 0..K - 1.
        sizes: (K,) int64 number of embeddings in each chunk.

    Returns:
        The index of the embedding in each cell (K, n), which cells are filled (K, n),
        and the cell of each embedding (N,), as an index into the flattened table.
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
