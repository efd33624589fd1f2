# Copyright (c) mmfdta authors.
"""Focal losses and their derivatives."""

import torch
from torch import Tensor

# As in MMCV's CUDA code, in every precision: smallest probability in a logarithm.
FLOAT32_TINY = torch.finfo(torch.float32).tiny


def _focal_terms(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return probabilities p and 1 - p, and the mask of the target classes, (N, C)."""
    p = logits.sigmoid()
    is_target = target[:, None] == torch.arange(logits.shape[1], device=logits.device)
    return p, 1 - p, is_target


def _log(probability: Tensor) -> Tensor:
    return probability.clamp(min=FLOAT32_TINY).log()


def sigmoid_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the sigmoid focal loss (Lin et al. 2017) of each logit to `output`.

    Args:
        input: Logits (N, C).
        target: Class of each row, int64 (N,); C or more is background.
        weight: Weight of each class (C,), or empty for none.
        output: Receives the losses (N, C).
        gamma: Focusing exponent.
        alpha: Weight of positives; negatives weigh 1 - alpha.
    """
    p, q, is_target = _focal_terms(input, target)
    positive = -alpha * q.pow(gamma) * _log(p)
    negative = -(1 - alpha) * p.pow(gamma) * _log(q)
    output.copy_(torch.where(is_target, positive, negative))
    if weight.numel():
        output.mul_(weight[target][:, None])


def sigmoid_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the derivative of `sigmoid_focal_loss_forward` to `grad_input` (N, C)."""
    p, q, is_target = _focal_terms(input, target)
    positive = -alpha * q.pow(gamma) * (q - gamma * p * _log(p))
    negative = -(1 - alpha) * p.pow(gamma) * (gamma * q * _log(q) - p)
    grad_input.copy_(torch.where(is_target, positive, negative))
    if weight.numel():
        grad_input.mul_(weight[target][:, None])


def _softmax_scale(
    target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """Return the column of each row's target and the factor of its loss, 0: ignored."""
    column = target.clamp(min=0)
    scale = (target >= 0) * alpha
    return column, scale * weight[column] if weight.numel() else scale


def softmax_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the softmax focal loss of each row to `output`.

    Args:
        input: Probabilities (N, C), after the softmax.
        target: Class of each row, int64 (N,); a negative one is ignored.
        weight: Weight of each class (C,), or empty for none.
        output: Receives the losses (N,).
        gamma: Focusing exponent.
        alpha: Weight of every row.
    """
    column, scale = _softmax_scale(target, weight, alpha)
    p = input.gather(1, column[:, None])[:, 0]
    output.copy_(-scale * (1 - p).pow(gamma) * _log(p))


def softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the derivative with respect to the logits to `grad_input` (N, C).

    `buff` (N,) receives the common factor of the classes of each row.
    """
    column, scale = _softmax_scale(target, weight, alpha)
    p = input.gather(1, column[:, None])[:, 0]
    q = 1 - p
    buff.copy_(scale * (gamma * q.pow(gamma - 1) * p * _log(p) - q.pow(gamma)))
    one_hot = torch.zeros_like(input).scatter_(1, column[:, None], 1)
    grad_input.copy_(buff[:, None] * (one_hot - input))
