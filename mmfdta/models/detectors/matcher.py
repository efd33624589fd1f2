# Copyright (c) mmfdta authors.
"""Matches queries to ground truth for all frames and decoder layers at once."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from mmdet.registry import TASK_UTILS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_xyxy_to_cxcywh
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmfdta.ops.box_overlaps import generalized_iou
from mmfdta.utils.transfers import to_device, to_host

from .base import padding_of

# Lower than any sum of finite costs of a frame, and a float64 beside it keeps four
# decimals.
_BEFORE_ALL = -1e12


@dataclass
class ClipTargets:
    """Ground truth of F frames, padded to M boxes per frame."""

    boxes: Tensor
    """(F, M, 4) cxcywh in 0..1 of the unpadded image."""
    labels: Tensor
    """(F, M) int64 classes."""
    identities: Tensor
    """(F, M) int64 identities; -1 if there are none."""
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
        """Collect the ``gt_instances`` of frames, on their device.

        Args:
            samples: Frames with ``img_shape``, ``batch_input_shape`` and
                ``gt_instances`` (bboxes xyxy in pixels, labels, and optionally
                instances_ids).
        """
        annotated = [sample.gt_instances for sample in samples]
        counts = [len(gt) for gt in annotated]
        shape = len(samples), max(counts)
        valid = torch.arange(shape[1]) < torch.tensor(counts)[:, None]
        sizes = torch.tensor([s.img_shape[:2] for s in samples], dtype=torch.float32)
        place = valid.flatten().nonzero()[:, 0]
        device = annotated[0].bboxes.device
        valid, sizes, place = to_device([valid, sizes, place], device)

        def pad(values: list[Tensor], like: Tensor) -> Tensor:
            found = torch.cat(values).to(like)
            return like.flatten(0, 1).index_copy(0, place, found).view_as(like)

        labels = torch.zeros(shape, dtype=torch.int64, device=device)
        identities = [
            gt.instances_ids
            if 'instances_ids' in gt
            else torch.full_like(gt.labels, -1)
            for gt in annotated
        ]
        boxes = pad(
            [gt.bboxes for gt in annotated], torch.zeros(*shape, 4, device=device)
        )
        scale = sizes.flip(1).repeat(1, 2)[:, None]
        return cls(
            boxes=bbox_xyxy_to_cxcywh(boxes / scale),
            labels=pad([gt.labels for gt in annotated], labels),
            identities=pad(identities, torch.full_like(labels, -1)),
            valid=valid,
            image_sizes=sizes,
            num_valid=counts,
            batch_shape=tuple(samples[0].batch_input_shape),
        )

    def to(self, device: torch.device | str | int) -> 'ClipTargets':
        """Copy them to a device, in one copy without waiting."""
        names = 'boxes', 'labels', 'identities', 'valid', 'image_sizes'
        moved = to_device([getattr(self, name) for name in names], device)
        return replace(self, **dict(zip(names, moved, strict=True)))

    def padding_mask(self, size: tuple[int, int]) -> Tensor:
        """Return the padding of the frames on a feature map.

        Args:
            size: Height h and width w of the map.

        Returns:
            (F, h, w) bool, True = padding; a cell is padding if the pixel that nearest
            interpolation reads for it is.
        """
        (mask,), _ = padding_of(self.image_sizes, self.batch_shape, (size,))
        return mask


@dataclass
class MatchedPairs:
    """The N pairs of a box and its query in all decoder layers, sorted by layer."""

    layer: Tensor
    """(N,) int64."""
    frame: Tensor
    """(N,) int64."""
    box: Tensor
    """(N,) int64, index of the box in the frame."""
    query: Tensor
    """(N,) int64."""
    counts: list[int]
    """Pairs of each layer, on the host."""

    @classmethod
    def from_index(
        cls, query_idx: Tensor, device: torch.device | str | int
    ) -> 'MatchedPairs':
        """List the pairs on the host and copy them to a device without waiting.

        Args:
            query_idx: Queries (L, F, M) on the host, -1 for none.
            device: The device.
        """
        matched = query_idx >= 0
        rows = [*matched.nonzero().unbind(1), query_idx[matched]]
        counts = matched.flatten(1).sum(1).tolist()
        (table,) = to_device([torch.stack(rows)], device)
        layer, frame, box, query = table.unbind()
        return cls(layer, frame, box, query, counts)


@dataclass
class ClipMatches:
    """The matched query of each ground-truth box, in L decoder layers."""

    query_idx: Tensor
    """(L, F, M) int64; -1 for padding and boxes without a query."""
    quality: Tensor
    """(L, F, M) float, GIoU of the matched pair; -1 without one."""
    on_host: Tensor
    """``query_idx`` on the host, where it was computed."""


@TASK_UTILS.register_module()
class ClipMatcher:
    """Hungarian matching of Deformable DETR.

    The costs of all layers and frames are computed together and copied to the host at
    once.

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
        """Match queries to boxes.

        Args:
            cls_scores: Logits (L, F, Q, K).
            bbox_preds: cxcywh in 0..1, (L, F, Q, 4).
            targets: Ground truth of the F frames.

        Returns:
            Matched queries and qualities; see :func:`assign` for predictions that are
            not finite.
        """
        shape = *cls_scores.shape[:2], targets.valid.shape[1]
        query_idx = np.full(shape, -1, dtype=np.int64)
        cost, giou = self.costs(cls_scores, bbox_preds, targets)
        host = to_host(cost).transpose(-1, -2).numpy()
        for layer, frame in np.ndindex(*shape[:2]):
            block = host[layer, frame, : targets.num_valid[frame]]
            boxes, queries = assign(block)
            query_idx[layer, frame, boxes] = queries
        on_host = torch.from_numpy(query_idx)
        (index,) = to_device([on_host], giou.device)
        quality = giou.gather(2, index.clamp(min=0)[:, :, None])[:, :, 0]
        return ClipMatches(index, quality.masked_fill(index < 0, -1), on_host)

    @torch.no_grad()
    def costs(
        self, cls_scores: Tensor, bbox_preds: Tensor, targets: ClipTargets
    ) -> tuple[Tensor, Tensor]:
        """Compute cost and GIoU of every pair of a query and a box within a frame.

        Args:
            cls_scores: Logits (L, F, Q, K).
            bbox_preds: cxcywh in 0..1, (L, F, Q, 4).
            targets: Ground truth of the F frames, with M boxes each.

        Returns:
            Both (L, F, Q, M), on the device.
        """
        giou = generalized_iou(
            bbox_cxcywh_to_xyxy(bbox_preds)[..., None, :],
            bbox_cxcywh_to_xyxy(targets.boxes)[:, None],
            eps=torch.finfo(torch.float32).tiny,
        )
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
        return cost.sub_(giou, alpha=self.iou_weight), giou


def assign(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the cheapest one-to-one assignment.

    A query whose cost is not finite is matched before all others. Its NaN or infinity
    then reaches the losses, on which :class:`FiniteLossHook` decides in all processes.

    Args:
        cost: Cost (M, Q) of each box and query.

    Returns:
        Matched boxes, ascending, and their queries, int64 (min(M, Q),).
    """
    return linear_sum_assignment(np.where(np.isfinite(cost), cost, _BEFORE_ALL))
