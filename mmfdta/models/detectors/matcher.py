# Copyright (c) mmfdta authors.
"""Match queries to ground truth for all frames and decoder layers at once."""

from dataclasses import dataclass

import numpy as np
import torch
from mmdet.registry import TASK_UTILS
from mmdet.structures import SampleList
from mmdet.structures.bbox import (
    bbox_cxcywh_to_xyxy,
    bbox_overlaps,
    bbox_xyxy_to_cxcywh,
)
from scipy.optimize import linear_sum_assignment
from torch import Tensor


@dataclass
class ClipTargets:
    """Ground truth of F frames, padded to M boxes per frame."""

    boxes: Tensor
    """(F, M, 4) cxcywh in 0..1 of the unpadded image."""
    labels: Tensor
    """(F, M) int64 classes."""
    identities: Tensor
    """(F, M) int64 identities."""
    valid: Tensor
    """(F, M) bool, False = padding."""
    image_sizes: Tensor
    """(F, 2) height and width of the unpadded images, pixels."""
    num_valid: list[int]
    """Boxes of each frame, on the host."""
    batch_shape: tuple[int, int]
    """Height and width of the padded batch, pixels."""

    @classmethod
    def from_samples(cls, samples: SampleList) -> 'ClipTargets':
        """Collect the ``gt_instances`` of frames on one device.

        Args:
            samples: Frames with ``img_shape`` and ``gt_instances`` (bboxes xyxy in
                pixels, labels, instances_ids).
        """
        counts = [len(s.gt_instances) for s in samples]
        device = samples[0].gt_instances.bboxes.device
        shape = len(samples), max(counts)
        boxes = torch.zeros(*shape, 4, device=device)
        labels = torch.zeros(shape, dtype=torch.int64, device=device)
        identities = torch.full(shape, -1, dtype=torch.int64, device=device)
        for i, (sample, n) in enumerate(zip(samples, counts, strict=True)):
            gt = sample.gt_instances
            boxes[i, :n] = gt.bboxes
            labels[i, :n] = gt.labels
            if 'instances_ids' in gt:
                identities[i, :n] = gt.instances_ids
        num = torch.tensor(counts, device=device)
        valid = torch.arange(shape[1], device=device) < num[:, None]
        sizes = boxes.new_tensor([s.img_shape[:2] for s in samples])
        scale = sizes.flip(1).repeat(1, 2)[:, None]
        boxes = bbox_xyxy_to_cxcywh(boxes / scale)
        batch_shape = tuple(samples[0].batch_input_shape)
        return cls(boxes, labels, identities, valid, sizes, counts, batch_shape)

    def padding_mask(self, size: tuple[int, int]) -> Tensor:
        """Padding of the frames on a feature map, True = padding.

        Args:
            size: Height h and width w of the map.

        Returns:
            (F, h, w) bool; a cell is padding if the pixel that nearest interpolation
            takes it from is.
        """
        beyond = [
            torch.arange(n, device=self.boxes.device) * full // n
            >= self.image_sizes[:, axis, None]
            for axis, (n, full) in enumerate(zip(size, self.batch_shape, strict=True))
        ]
        return beyond[0][:, :, None] | beyond[1][:, None, :]


@dataclass
class ClipMatches:
    """Which query each ground-truth box was matched to, in L decoder layers."""

    query_idx: Tensor
    """(L, F, M) int64; -1 for padding and boxes without a query."""
    quality: Tensor
    """(L, F, M) float, GIoU of the matched pair; -1 where there is none."""


@TASK_UTILS.register_module()
class ClipMatcher:
    """Hungarian matching of Deformable DETR.

    The costs of all layers and frames are computed together and go to the host
    in one copy.

    Args:
        cls_weight: Weight of the focal classification cost.
        bbox_weight: Weight of the L1 cost of normalised boxes.
        iou_weight: Weight of the GIoU cost.
        alpha: Alpha of the focal cost.
        gamma: Gamma of the focal cost.
    """

    def __init__(
        self,
        cls_weight: float = 2.0,
        bbox_weight: float = 5.0,
        iou_weight: float = 2.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
    ) -> None:
        self.cls_weight = cls_weight
        self.bbox_weight = bbox_weight
        self.iou_weight = iou_weight
        self.alpha = alpha
        self.gamma = gamma

    @torch.no_grad()
    def __call__(
        self, cls_scores: Tensor, bbox_preds: Tensor, targets: ClipTargets
    ) -> ClipMatches:
        """Match.

        Args:
            cls_scores: Logits (L, F, Q, K).
            bbox_preds: cxcywh in 0..1, (L, F, Q, 4).
            targets: Ground truth of the F frames.

        Returns:
            Matched queries and qualities.

        Raises:
            FloatingPointError: If a prediction is not finite.
        """
        shape = *cls_scores.shape[:2], targets.valid.shape[1]
        query_idx = np.full(shape, -1, dtype=np.int64)
        giou = bbox_overlaps(
            bbox_cxcywh_to_xyxy(bbox_preds),
            bbox_cxcywh_to_xyxy(targets.boxes).expand(shape[0], -1, -1, -1),
            mode='giou',
            eps=torch.finfo(torch.float32).tiny,
        )
        cost = self._cost(cls_scores, bbox_preds, giou, targets)
        host = cost.transpose(-1, -2).cpu().numpy()
        for layer, frame in np.ndindex(*shape[:2]):
            block = host[layer, frame, : targets.num_valid[frame]]
            try:
                boxes, queries = linear_sum_assignment(block)
            except ValueError as error:
                raise FloatingPointError(
                    f'decoder layer {layer} predicts NaN or Inf for frame {frame} of '
                    'the batch, so it cannot be matched to the ground truth. Lower '
                    'the learning rate or train in float32.'
                ) from error
            query_idx[layer, frame, boxes] = queries
        index = torch.from_numpy(query_idx).to(giou.device)
        quality = giou.gather(2, index.clamp(min=0)[:, :, None])[:, :, 0]
        return ClipMatches(index, quality.masked_fill(index < 0, -1))

    def _cost(
        self, cls_scores: Tensor, bbox_preds: Tensor, giou: Tensor, targets: ClipTargets
    ) -> Tensor:
        """Cost (L, F, Q, M) of every pair within a frame."""
        prob = cls_scores.sigmoid()
        negative = (1 - self.alpha) * prob**self.gamma * -(1 - prob + 1e-8).log()
        positive = self.alpha * (1 - prob) ** self.gamma * -(prob + 1e-8).log()
        labels = targets.labels[None, :, None].expand(
            *cls_scores.shape[:3], targets.labels.shape[-1]
        )
        cost = self.cls_weight * (positive - negative).gather(-1, labels)
        cost += self.bbox_weight * torch.cdist(
            bbox_preds, targets.boxes.expand(len(bbox_preds), -1, -1, -1), p=1
        )
        return cost.sub_(giou, alpha=self.iou_weight)
