# Copyright (c) mmfdta authors.
"""The interface of FDTA's detectors, and their outputs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from mmdet.structures import SampleList
from mmdet.utils import InstanceList
from mmengine.structures import InstanceData
from torch import Tensor

from mmfdta.structures.boxes import corners_and_areas
from mmfdta.utils.instances import take_rows

from .matcher import ClipMatches, ClipTargets


class ClipDetector(Protocol):
    """The methods that FDTA calls. A detector processes each frame independently.

    :class:`FDTADetector` is Deformable DETR as in the paper; :class:`QueryDetector`
    is any other detector of MMDetection whose queries become objects.
    """

    embed_dims: int
    """Channels C of the embeddings."""
    num_layers: int
    """Number of decoder layers L."""

    def detect(
        self, imgs: Tensor, frames: SampleList, recompute: bool = False
    ) -> 'DetectorOutputs':
        """Find objects.

        Args:
            imgs: Normalised frames (F, 3, H, W), padded at the right and bottom.
            frames: Their meta information, and in training ``gt_instances``.
            recompute: Keep no activations and compute them again in the backward pass.

        Returns:
            Classes, boxes and embeddings of all queries.
        """

    def clip_losses(
        self,
        outputs: 'DetectorOutputs',
        targets: ClipTargets,
        depth_maps: Tensor | None,
    ) -> tuple[dict[str, Tensor], ClipMatches]:
        """Compute the detector's losses, and match queries for association.

        Args:
            outputs: Outputs for F frames, of which some may have no gradients.
            targets: Their ground truth.
            depth_maps: (F, 1, H, W) pseudo depth in 0..255, NaN in frames without a
                map; None without depth.

        Returns:
            Losses, and the matching of all decoder layers.
        """


@dataclass
class DetectorOutputs:
    """Predictions for F frames, from L decoder layers."""

    cls_scores: Tensor
    """Class logits (L, F, Q, K)."""
    bbox_preds: Tensor
    """cxcywh in 0..1 of the unpadded image, (L, F, Q, 4)."""
    embeddings: Tensor
    """Last decoder layer's output, the object embeddings, (F, Q, C)."""
    depth_logits: Tensor | None = None
    """(F, D + 1, h, w); None without a Spatial Adapter."""

    @property
    def depth_parts(self) -> list[tuple[Tensor, Tensor | slice]]:
        """Depth logits (f, D + 1, h, w), and the indices of their frames."""
        if self.depth_logits is None:
            return []
        return [(self.depth_logits, slice(None))]

    @property
    def loss_parts(self) -> list[tuple[dict[str, Tensor], int]]:
        """Losses of some of the frames, and the number of boxes they average over."""
        return []

    def best_classes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the last layer's box and best class of every query.

        Returns:
            Boxes cxcywh in 0..1 of the unpadded image (F, Q, 4), scores (F, Q) and
            labels int64 (F, Q).
        """
        scores, labels = self.cls_scores[-1].sigmoid().max(-1)
        return self.bbox_preds[-1], scores, labels

    def on_host(
        self, frames: SampleList, rescale: bool = True, with_embeddings: bool = True
    ) -> InstanceList:
        """Copy best class and box of every query to the host, see `host_detections`.

        Args:
            frames: The F frames.
            rescale: Boxes in pixels of their ``ori_shape`` instead of ``img_shape``.
            with_embeddings: Also return the embeddings, which stay on the device.
        """
        shapes = [frame.ori_shape if rescale else frame.img_shape for frame in frames]
        return host_detections(
            *self.best_classes(),
            [shape[:2] for shape in shapes],
            self.embeddings if with_embeddings else None,
        )

    def by_score(self, frames: SampleList, rescale: bool = True) -> InstanceList:
        """Return detections for a tracker, one for each query.

        Args:
            frames: The F frames.
            rescale: Boxes in pixels of the original frame instead of the resized one.

        Returns:
            Detections of each frame, best score first, see :func:`host_detections`, and
            ``queries`` int64 (Q,), the query of each.
        """
        found = []
        for instances in self.on_host(frames, rescale):
            order = instances.scores.argsort(descending=True, stable=True)
            instances.queries = torch.arange(len(order))
            found.append(take_rows(instances, order))
        return found

    def float(self) -> 'DetectorOutputs':
        """Convert predictions to float32; embeddings keep their type."""
        return replace(
            self, cls_scores=self.cls_scores.float(), bbox_preds=self.bbox_preds.float()
        )


@dataclass
class HostOutputs(DetectorOutputs):
    """Outputs of a detector that computes its losses itself."""

    losses: dict[str, Tensor] | None = None
    """Losses averaged over the frames' boxes; None without gradients."""
    num_boxes: int = 0
    """Number of these boxes."""

    @property
    def loss_parts(self) -> list[tuple[dict[str, Tensor], int]]:
        """See :attr:`DetectorOutputs.loss_parts`."""
        return [] if self.losses is None else [(self.losses, self.num_boxes)]


@dataclass
class MergedOutputs(DetectorOutputs):
    """Outputs of frames that were detected in parts.

    Depth logits are not merged: they are large, only their loss reads them, and those
    of frames without gradients need no backward pass.
    """

    merged_depth: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Depth logits (f, D + 1, h, w), and (f,) int64, the indices of their frames."""
    merged_losses: list[tuple[dict[str, Tensor], int]] = field(default_factory=list)
    """See :attr:`DetectorOutputs.loss_parts`."""

    @classmethod
    def of(
        cls, parts: Sequence[DetectorOutputs], frames: Sequence[Tensor]
    ) -> 'MergedOutputs':
        """Concatenate outputs and sort them by frame.

        Args:
            parts: Outputs for disjoint frames.
            frames: Indices of the frames of each part, (f,) int64 on the device.
        """
        order = torch.cat([*frames]).argsort()

        def join(name: str, dim: int) -> Tensor:
            values = torch.cat([getattr(part, name) for part in parts], dim)
            return values.index_select(dim, order)

        return cls(
            join('cls_scores', 1),
            join('bbox_preds', 1),
            join('embeddings', 0),
            merged_depth=[
                (part.depth_logits, index)
                for part, index in zip(parts, frames, strict=True)
                if part.depth_logits is not None
            ],
            merged_losses=[pair for part in parts for pair in part.loss_parts],
        )

    @property
    def depth_parts(self) -> list[tuple[Tensor, Tensor | slice]]:
        """See :attr:`DetectorOutputs.depth_parts`."""
        return [*self.merged_depth]

    @property
    def loss_parts(self) -> list[tuple[dict[str, Tensor], int]]:
        """See :attr:`DetectorOutputs.loss_parts`."""
        return [*self.merged_losses]


def host_detections(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    image_sizes: Sequence[tuple[int, int]],
    embeddings: Tensor | None = None,
) -> InstanceList:
    """Copy the detections of F frames to the host, in one copy.

    Args:
        boxes: cxcywh in 0..1 of the image, (F, Q, 4).
        scores: (F, Q).
        labels: Classes (F, Q).
        image_sizes: Height and width of each frame, in pixels, for the boxes.
        embeddings: (F, Q, C); they stay on their device.

    Returns:
        For each frame, in the order of the queries and on the CPU: ``bboxes`` (Q, 4)
        float32 xyxy in pixels, not clipped to the image; ``scores`` float32, ``labels``
        int64 and ``areas`` float32 (Q,), in square pixels; and ``embeddings`` (Q, C).
    """
    columns = [boxes, scores[..., None], labels[..., None]]
    packed = torch.cat([column.detach().float() for column in columns], dim=-1)
    found = []
    for i, (table, size) in enumerate(
        zip(packed.cpu().numpy(), image_sizes, strict=True)
    ):
        corners, areas = corners_and_areas(table[:, :4], size)
        instances = InstanceData(
            bboxes=torch.from_numpy(corners),
            scores=torch.from_numpy(table[:, 4].copy()),
            labels=torch.from_numpy(table[:, 5].astype(np.int64)),
            areas=torch.from_numpy(areas),
        )
        if embeddings is not None:
            instances.embeddings = embeddings[i]
        found.append(instances)
    return found
