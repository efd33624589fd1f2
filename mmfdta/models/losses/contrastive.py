# Copyright (c) mmfdta authors.
"""Contrastive supervision of the Identity Adapter."""

import math

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import pad_sequence

from mmfdta.ops.onednn import matrix_products

# Added to what is no negative. A row without negatives then has N_i near -1e30, with
# which its terms and their gradients are exactly 0.
_EXCLUDE = 1e30


class _PairwiseContrast(torch.autograd.Function):
    """Sum of weighted contrastive terms over all positive pairs of every chunk.

    With s the similarities over the temperature, N_i the log of the summed
    exponentials of anchor i's negatives, a pair's term is
    `log(exp(s_ij) + exp(N_i)) - s_ij = softplus(N_i - s_ij)`. The gradient by s is
    closed: `-w_ij sigmoid(N_i - s_ij)` for a positive and, g_i being minus the sum of
    these over the row, `g_i exp(s_ik - N_i)` for a negative. It overwrites the
    similarities, so one (n, n) matrix is kept for the backward pass. Masks act by
    addition and multiplication, which is several times faster than filling. Exponents
    are to the base 2, which PyTorch computes on a CPU four times as fast.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        unit: Tensor,
        weight: Tensor,
        negative: Tensor,
        temperature: float,
    ) -> Tensor:
        sim = matrix_products(unit / (temperature * math.log(2)), unit)
        probs = torch.add(sim, negative.to(sim).sub_(1), alpha=_EXCLUDE)
        shift = probs.amax(2, keepdim=True)
        total = probs.sub_(shift).exp2_().sum(2, keepdim=True)
        gap = torch.sub(shift + total.log2(), sim, out=sim).mul_(math.log(2))
        loss = F.softplus(gap).mul_(weight).sum()
        if ctx.needs_input_grad[0]:
            grad = gap.sigmoid_().mul_(weight).neg_()
            grad.addcmul_(probs, grad.sum(2, keepdim=True) / total, value=-1)
            ctx.save_for_backward(unit, grad)
            ctx.temperature = temperature
        return loss

    @staticmethod
    @once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad_output: Tensor
    ) -> tuple[Tensor | None, ...]:
        unit, grad = ctx.saved_tensors
        grad_unit = matrix_products(grad + grad.transpose(1, 2), unit.transpose(1, 2))
        return grad_unit.mul_(grad_output / ctx.temperature), None, None, None


@MODELS.register_module()
class QualityAwareContrastiveLoss(nn.Module):
    """Contrastive loss weighted by how well the boxes fit (paper, Sec. 3.4).

    Embeddings of one identity are pulled together and pushed off those of the other
    identities of the same chunk of frames. The denominator of a positive pair (i, j)
    holds j and all embeddings of other identities, neither i nor the other
    positives; its weight is the harmonic mean of the two qualities. Every anchor
    averages over its positives, every chunk over its anchors that have one.

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
        sizes = [len(embeddings)]
        if len(embeddings) == 0:
            return embeddings.sum() * 0
        if chunk_ids is not None:
            chunk_ids, order = chunk_ids.to(embeddings.device).sort(stable=True)
            # The only transfer to the host: the sizes decide the padded layout.
            sizes = chunk_ids.unique_consecutive(return_counts=True)[1].tolist()
            embeddings = embeddings[order]
            labels, qualities = labels[order], qualities[order]
        with torch.autocast(embeddings.device.type, enabled=False):
            return self._loss(embeddings, labels, qualities, sizes)

    def _loss(
        self, embeddings: Tensor, labels: Tensor, qualities: Tensor, sizes: list[int]
    ) -> Tensor:
        dtype = torch.promote_types(embeddings.dtype, torch.float32)
        unit = _by_chunk(F.normalize(embeddings.to(dtype), dim=1), sizes)
        quality = _by_chunk(qualities.to(unit), sizes, padding=-1)
        label = _by_chunk(labels, sizes)

        taking_part = quality >= self.quality_thr
        pair = taking_part[:, :, None] & taking_part[:, None, :]
        same = label[:, :, None] == label[:, None, :]
        negative = pair & ~same
        positive = pair & same
        positive.diagonal(dim1=1, dim2=2).fill_(False)

        num_positives = positive.sum(2, keepdim=True)
        num_anchors = (num_positives > 0).sum(1, keepdim=True)
        scale = 2 / (num_positives.clamp(min=1) * num_anchors.clamp(min=1)).to(dtype)
        # The harmonic mean by reciprocals: infinity, for what takes no part, gives 0.
        inverse = (1 / quality).masked_fill(~taking_part, torch.inf)
        weight = scale / (inverse[:, :, None] + inverse[:, None, :])
        weight *= positive

        loss = _PairwiseContrast.apply(unit, weight, negative, self.temperature)
        if self.reduction == 'mean':
            loss = loss / len(sizes)
        return self.loss_weight * self.temperature * loss


def _by_chunk(values: Tensor, sizes: list[int], padding: float = 0) -> Tensor:
    """Split (n, ...) into (chunks, largest chunk, ...), padded at the end."""
    return pad_sequence(
        torch.split(values, sizes), batch_first=True, padding_value=padding
    )
