# Copyright (c) mmfdta authors.
"""Supervision of the ID decoder's predictions."""

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.utils import reduce_mean
from torch import Tensor, nn


@MODELS.register_module()
class IDLoss(nn.Module):
    """Classification of detections into ID words (paper, Sec. 3.1).

    With p_i the softmax over the K words and "newborn", y_i the correct one and n the
    number of detections, ``L = -1/n sum_i log p_i[y_i]``. The first frame has no
    history and is left out; n is averaged over all processes and at least 1.

    Args:
        loss_weight: Factor of the loss.
        use_focal: Sigmoid focal loss, averaged over the words, instead of cross
            entropy.
        alpha: Weight of the correct word in the focal loss; the others weigh 1 - alpha.
        gamma: Exponent of the focal loss.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        use_focal: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.use_focal = use_focal
        self.alpha = alpha
        self.gamma = gamma

    def forward(self, id_logits: Tensor, id_labels: Tensor, id_masks: Tensor) -> Tensor:
        """Compute the loss, at least in float32.

        Args:
            id_logits: (..., T, N, K + 1); any leading dimensions, such as (B, G) or
                (layers, B, G).
            id_labels: (..., T, N) int64 in 0..K, K = newborn; arbitrary where masked.
                Broadcast over missing leading dimensions.
            id_masks: Like id_labels, bool, True where there is no detection.

        Returns:
            Scalar; 0 with a zero gradient if everything is masked.
        """
        shape = id_logits.shape[:-1]
        masks = id_masks.expand(shape)[..., 1:, :].flatten()
        labels = id_labels.expand(shape)[..., 1:, :].flatten()
        logits = id_logits[..., 1:, :, :].flatten(0, -2)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        # Masked logits are arbitrary and must not reach the gradient.
        logits = logits.masked_fill(masks[:, None], 0)
        count = reduce_mean((~masks).sum().to(logits.dtype)).clamp(min=1)
        with torch.autocast(logits.device.type, enabled=False):
            if self.use_focal:
                loss = self._focal(logits, labels, masks)
            else:
                loss = F.cross_entropy(
                    logits,
                    labels.masked_fill(masks, -100),
                    ignore_index=-100,
                    reduction='sum',
                )
        return self.loss_weight * loss / count

    def scores(self, id_logits: Tensor) -> Tensor:
        """Turn logits into the scores that this loss trains: softmax; sigmoid if focal.

        Args:
            id_logits: (..., K + 1).

        Returns:
            (..., K + 1), at least in float32.
        """
        logits = id_logits.to(torch.promote_types(id_logits.dtype, torch.float32))
        return logits.sigmoid() if self.use_focal else logits.softmax(-1)

    def _focal(self, logits: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
        words = torch.arange(logits.size(1), device=logits.device)
        right = labels[:, None] == words
        # Each word is one binary decision. The sign makes a positive logit correct for
        # both of its classes.
        signed = torch.where(right, logits, -logits)
        weight = torch.where(right, self.alpha, 1 - self.alpha)
        terms = weight * torch.sigmoid(-signed) ** self.gamma * F.softplus(-signed)
        return terms.mean(1).masked_fill(masks, 0).sum()
