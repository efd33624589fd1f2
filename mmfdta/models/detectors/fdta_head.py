# Copyright (c) mmfdta authors.
"""Detection head with depth supervision and clip-wide matching."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from mmdet.models.dense_heads import DeformableDETRHead
from mmdet.models.losses import GIoULoss
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmdet.utils import InstanceList, OptConfigType, reduce_mean
from torch import Tensor

from mmfdta.ops.box_overlaps import generalized_iou

from ..adapters import DepthFeatures
from ..layers import in_float32
from .depth import depth_losses, stack_depth
from .matcher import ClipMatches, ClipTargets, MatchedPairs
from .outputs import DetectorOutputs


@MODELS.register_module()
class FDTAHead(DeformableDETRHead):
    """Deformable DETR's head on clips.

    Every decoder layer has its own class and box branch and is matched and supervised
    separately; depth is supervised once. All losses except depth's are MMDetection's,
    averaged over the ground-truth boxes of all frames and processes.

    Args:
        matcher: Config of the matcher.
        loss_depth: Config of the depth loss; None turns it off.
        **kwargs: Arguments of MMDetection's ``DeformableDETRHead``.
    """

    def __init__(
        self,
        *args: Any,
        matcher: OptConfigType = None,
        loss_depth: OptConfigType = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault('train_cfg', None)
        super().__init__(*args, **kwargs)
        self.matcher = TASK_UTILS.build(matcher or dict(type='ClipMatcher'))
        self.loss_depth = None if loss_depth is None else MODELS.build(loss_depth)

    def forward(
        self,
        hidden_states: Tensor,
        references: list[Tensor],
        depth: DepthFeatures | None = None,
        enc_outputs_class: None = None,
        enc_outputs_coord: None = None,
    ) -> DetectorOutputs:
        """Predict classes and boxes of all decoder layers, in float32 also under AMP.

        Args:
            hidden_states: Decoder states (L, F, Q, C).
            references: Reference points or boxes of each layer.
            depth: Output of the Spatial Adapter.
            enc_outputs_class: Not used; MMDetection's detector passes the proposals of
                a first stage, which does not exist here.
            enc_outputs_coord: Not used, as ``enc_outputs_class``.

        Returns:
            Raw outputs.
        """
        if torch.is_grad_enabled() or self.share_pred_layer:
            cls_scores, bbox_preds = in_float32(
                partial(super().forward, references=references), hidden_states
            )
        else:
            # The decoder has already refined its points to these boxes.
            cls_scores = in_float32(self._classify, hidden_states)
            bbox_preds = torch.stack(list(references[1:]))
        depth_logits = None if depth is None else depth.logits
        return DetectorOutputs(cls_scores, bbox_preds, hidden_states[-1], depth_logits)

    def _classify(self, hidden_states: Tensor) -> Tensor:
        """Return class logits (L, F, Q, K)."""
        pairs = zip(self.cls_branches, hidden_states, strict=True)
        return torch.stack([branch(states) for branch, states in pairs])

    def loss(
        self, batch_data_samples: SampleList, **head_inputs: Any
    ) -> dict[str, Tensor]:
        """Compute losses of single frames, for training the detector alone.

        Args:
            batch_data_samples: Frames with ``gt_instances``, and ``gt_depth`` to
                supervise depth, see :class:`UnpackFrame`.
            **head_inputs: See :meth:`forward`.

        Returns:
            Losses, see :meth:`loss_by_feat`.
        """
        outputs = self(**head_inputs)
        device = outputs.cls_scores.device
        targets = ClipTargets.from_samples(batch_data_samples).to(device)
        maps = None
        if self.loss_depth is not None:
            maps = stack_depth(batch_data_samples)
        losses, _ = self.loss_by_feat(outputs, targets, maps)
        return losses

    def loss_by_feat(
        self,
        outputs: DetectorOutputs,
        targets: ClipTargets,
        depth_maps: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], ClipMatches]:
        """Match and compute all detection losses, in float32 also under AMP.

        Args:
            outputs: Raw outputs for F frames.
            targets: Their ground truth.
            depth_maps: (F, 1, H, W) pseudo depth in 0..255, see :func:`depth_losses`.

        Returns:
            Losses (the last layer's without a prefix, the others with ``d0.``, ``d1.``
            ...) and the matching of all layers.
        """
        with torch.autocast(outputs.cls_scores.device.type, enabled=False):
            return self._loss_by_feat(outputs.float(), targets, depth_maps)

    def _loss_by_feat(
        self,
        outputs: DetectorOutputs,
        targets: ClipTargets,
        depth_maps: Tensor | None,
    ) -> tuple[dict[str, Tensor], ClipMatches]:
        """Compute :meth:`loss_by_feat` in float32."""
        matches = self.matcher(outputs.cls_scores, outputs.bbox_preds, targets)
        num_boxes = outputs.bbox_preds.new_full((), sum(targets.num_valid))
        num_boxes = reduce_mean(num_boxes).clamp(min=1)
        losses = self._loss_layers(
            outputs.cls_scores,
            outputs.bbox_preds,
            MatchedPairs.from_index(matches.on_host, outputs.cls_scores.device),
            targets,
            num_boxes,
        )
        if self.loss_depth is not None:
            losses |= depth_losses(
                self.loss_depth, outputs.depth_parts, depth_maps, targets, num_boxes
            )
        return losses, matches

    def _loss_layers(
        self,
        cls_scores: Tensor,
        bbox_preds: Tensor,
        pairs: MatchedPairs,
        targets: ClipTargets,
        num_boxes: Tensor,
    ) -> dict[str, Tensor]:
        """Compute class, L1 and GIoU loss of all layers; the last has no prefix."""
        found = pairs.layer, pairs.frame, pairs.query
        wanted = pairs.frame, pairs.box
        labels = targets.labels.new_full(cls_scores.shape[:3], self.num_classes)
        labels[found] = targets.labels[wanted]
        of_classes = self.loss_cls(
            cls_scores.flatten(0, 2), labels.flatten(), reduction_override='none'
        )
        pred, target = bbox_preds[found], targets.boxes[wanted]
        of_boxes = self.loss_bbox(pred, target, reduction_override='none')
        scale = targets.image_sizes[pairs.frame].flip(1).repeat(1, 2)
        of_ious = self._iou_terms(
            bbox_cxcywh_to_xyxy(pred) * scale, bbox_cxcywh_to_xyxy(target) * scale
        )
        terms = dict(
            loss_cls=of_classes.chunk(len(cls_scores)),
            loss_bbox=_by_layer(of_boxes, pairs.counts),
            loss_iou=_by_layer(of_ious, pairs.counts),
        )
        # As in MMDetection.
        divisor = num_boxes + torch.finfo(torch.float32).eps
        losses = {}
        for layer in range(len(cls_scores)):
            prefix = '' if layer == len(cls_scores) - 1 else f'd{layer}.'
            for name, layers in terms.items():
                losses[prefix + name] = layers[layer].sum() / divisor
        return losses

    def _iou_terms(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the IoU loss of each pair of boxes xyxy (N, 4)."""
        if type(self.loss_iou) is not GIoULoss:
            return self.loss_iou(pred, target, reduction_override='none')
        # Equal to MMDetection's, but without its wait for the device.
        giou = generalized_iou(pred, target, self.loss_iou.eps)
        return self.loss_iou.loss_weight * (1 - giou)

    def predict(
        self, batch_data_samples: SampleList, rescale: bool = True, **head_inputs: Any
    ) -> InstanceList:
        """Return detections for a tracker, see :meth:`DetectorOutputs.by_score`."""
        return self(**head_inputs).by_score(batch_data_samples, rescale)


def _by_layer(terms: Tensor, counts: list[int]) -> Sequence[Tensor]:
    """Split the terms by layer; without pairs, MMDetection's losses are scalars."""
    return terms.split(counts) if sum(counts) else [terms] * len(counts)
