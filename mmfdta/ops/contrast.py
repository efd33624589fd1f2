# Copyright (c) mmfdta authors.
"""Contrastive terms of padded chunks, with memory for one matrix of all pairs."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from .linear import products


def plain_contrast(
    unit: Tensor, names: Tensor, quality: Tensor, good: Tensor, temperature: float
) -> Tensor:
    """The reference of `contrast`, written as in the paper.

    It has the arguments of `contrast` except the pairs, and returns the same scalar.
    """
    similarity = unit @ unit.mT / temperature
    same = names[:, :, None] == names[:, None]
    itself = torch.eye(names.shape[1], dtype=torch.bool, device=names.device)
    positive = same & ~itself & good[:, :, None] & good[:, None]
    negative = ~same & good[:, None]
    negatives = similarity.masked_fill(~negative, -torch.inf).logsumexp(2, keepdim=True)
    # -log(exp(s) / (exp(s) + exp(n))) = log(1 + exp(n - s))
    term = F.softplus(negatives - similarity)
    inverse = 1 / quality
    weight = 2 / (inverse[:, :, None] + inverse[:, None])
    count = positive.sum(2)
    of_anchor = (weight * term).masked_fill(~positive, 0).sum(2) / count.clamp(min=1)
    anchors = (count > 0).sum(1).clamp(min=1)
    return temperature * (of_anchor.sum(1) / anchors).sum()


def contrast(
    unit: Tensor,
    names: Tensor,
    quality: Tensor,
    good: Tensor,
    i: Tensor,
    j: Tensor,
    temperature: float,
) -> Tensor:
    """Sum of the contrastive losses of K chunks, padded to n places each.

    The equations are in :class:`~mmfdta.models.losses.QualityAwareContrastiveLoss`.
    Written in plain PyTorch, they keep a dozen matrices of all pairs for the backward
    pass; this function keeps one. 30 frames of 30 objects take 21 ms and 15 MiB instead
    of 27 ms and 28 MiB (one thread of a Zen 4 with AVX-512).

    Args:
        unit: Embeddings of length 1, (K, n, C).
        names: Identities (K, n).
        quality: (K, n), in 0..1.
        good: (K, n) bool, which embeddings take part.
        i: (P,) int64, anchors of all positive pairs, as indices into the K * n places.
        j: (P,) int64, the other embedding of each pair, in the same way.
        temperature: Temperature of the loss.

    Returns:
        Scalar.
    """
    return _Contrast.apply(unit, names, quality, good, i, j, temperature)


class _Contrast(torch.autograd.Function):
    """`contrast` with its gradient.

    With p_ij = exp(n_i) / (exp(s_ij) + exp(n_i)), where n_i is the logarithm of the sum
    over the negatives, and f_ij the factor of l_ij in the loss, the gradient is
    -f_ij p_ij for a positive pair and exp(s_ik - n_i) sum_j f_ij p_ij for a negative.
    It takes the place of the similarities, so that there is one matrix of all pairs.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        unit: Tensor,
        names: Tensor,
        quality: Tensor,
        good: Tensor,
        i: Tensor,
        j: Tensor,
        temperature: float,
    ) -> Tensor:
        unit = unit / temperature**0.5
        scores = products(unit, unit)
        pairs = i * names.shape[1] + j % names.shape[1]
        positive = scores.flatten()[pairs]
        same = names[:, :, None] == names[:, None]
        scores.masked_fill_(same | ~good[:, None], -torch.inf)
        negatives = scores.logsumexp(2)
        # -log(exp(s) / (exp(s) + exp(n))) = log(1 + exp(n - s))
        excess = negatives.flatten()[i] - positive

        both = good.flatten()[i] & good.flatten()[j]
        # The harmonic mean, which is 0 where a quality is.
        inverse = 1 / quality.flatten()
        factor = (2 / (inverse[i] + inverse[j])).to(scores).masked_fill_(~both, 0)
        count = torch.zeros_like(negatives)
        count.view(-1).index_add_(0, i, both.to(count))
        anchors = (count > 0).sum(1, keepdim=True).clamp(min=1)
        factor /= (count.clamp_(min=1) * anchors).flatten()[i]
        loss = temperature * (factor * F.softplus(excess)).sum()

        slope = factor.mul_(excess.sigmoid_())
        total = torch.zeros_like(negatives)
        total.view(-1).index_add_(0, i, slope)
        negatives.masked_fill_(negatives == -torch.inf, 0)
        scores.sub_(negatives[..., None]).exp_().mul_(total[..., None])
        scores.view(-1)[pairs] = -slope
        ctx.save_for_backward(unit, scores)
        ctx.factor = temperature**0.5
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        unit, slopes = ctx.saved_tensors
        slopes = slopes + slopes.mT
        return products(slopes, unit.mT) * (grad * ctx.factor), *[None] * 6
