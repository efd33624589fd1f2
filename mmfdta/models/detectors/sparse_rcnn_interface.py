# Copyright (c) mmfdta authors.
"""Reads Sparse R-CNN, whose queries are proposals of a RoI head, not a transformer."""

from typing import Any

import torch
from mmdet.models.detectors import SparseRCNN
from mmdet.registry import TASK_UTILS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox2roi, bbox_xyxy_to_cxcywh
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmfdta.utils.transfers import to_float32

from .detr_interface import DetrInterface, sigmoid_logits


@TASK_UTILS.register_module()
class SparseRCNNInterface(DetrInterface):
    """The interface of :class:`QueryDetector` to MMDetection's ``SparseRCNN``."""

    def prepare(self, host: nn.Module) -> None:
        """See :meth:`DetrInterface.prepare`."""
        if not isinstance(host, SparseRCNN) or host.roi_head.with_mask:
            raise ValueError(
                f'model.detector.host.type: found {type(host).__name__}, expected '
                'SparseRCNN without masks for SparseRCNNInterface'
            )

    def embed_dims(self, host: nn.Module) -> int:
        """Return the channels C of neck and queries."""
        return host.roi_head.bbox_head[-1].in_channels

    def decoder_layers(self, host: nn.Module) -> list[nn.Module]:
        """Return the L stages."""
        return [*host.roi_head.bbox_head]

    def num_levels(self, host: nn.Module) -> int:
        """Return the number of levels from which queries pool."""
        return host.roi_head.bbox_roi_extractor[0].num_inputs

    def decode(
        self, host: nn.Module, feats: tuple[Tensor, ...], frames: SampleList
    ) -> dict[str, Any]:
        """Pool features in boxes, and refine queries and boxes, stage by stage."""
        feats = to_float32(feats)  # boxes in pixels take their type
        proposals = host.rpn_head.predict(feats, frames)
        queries = torch.stack([proposal.features for proposal in proposals])
        boxes = [proposal.bboxes for proposal in proposals]
        sizes = torch.stack([proposal.imgs_whwh for proposal in proposals])
        stages = []
        head = host.roi_head
        for pool, layer in zip(head.bbox_roi_extractor, head.bbox_head, strict=True):
            pooled = pool(feats[: pool.num_inputs], bbox2roi(boxes))
            cls_scores, deltas, queries, _ = layer(pooled, queries)
            refined = [
                layer.bbox_coder.decode(box, delta.float(), max_shape=frame.img_shape)
                for box, delta, frame in zip(boxes, deltas, frames, strict=True)
            ]
            stages.append((cls_scores, torch.stack(refined)))
            boxes = [box.detach() for box in refined]
        return dict(stages=stages, queries=queries, sizes=sizes)

    def embeddings(self, host: nn.Module, decoded: dict[str, Any]) -> Tensor:
        """Return the object features of the last stage (F, Q, C)."""
        return decoded['queries']

    def predictions(
        self, host: nn.Module, decoded: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`DetrInterface.predictions`."""
        scores, boxes = map(torch.stack, zip(*decoded['stages'], strict=True))
        scores = sigmoid_logits(scores, host.roi_head.bbox_head[-1].loss_cls)
        return scores, bbox_xyxy_to_cxcywh(boxes) / decoded['sizes']

    def losses(
        self, host: nn.Module, decoded: dict[str, Any], frames: SampleList
    ) -> dict[str, Tensor]:
        """Match each stage's queries, and compute its losses."""
        head, losses = host.roi_head, {}
        queries = decoded['queries'].shape[1]
        matched = sum(min(len(frame.gt_instances), queries) for frame in frames)
        num_boxes = reduce_mean(decoded['sizes'].new_tensor(float(matched)))
        # Without a box MMDetection divides by a tiny number; DETRs divide by 1.
        tiny = torch.finfo(num_boxes.dtype).eps
        share = num_boxes.clamp(min=tiny) / num_boxes.clamp(min=1)
        for stage, (cls_scores, boxes) in enumerate(decoded['stages']):
            samples = []
            for i, frame in enumerate(frames):
                box = boxes[i].detach()
                found = InstanceData(bboxes=box, priors=box)
                found.scores = cls_scores[i].detach()
                args = found, frame.gt_instances
                meta = frame.metainfo
                assigned = head.bbox_assigner[stage].assign(*args, img_meta=meta)
                samples.append(head.bbox_sampler[stage].sample(assigned, *args))
            values = head.bbox_head[stage].loss_and_target(
                cls_scores.flatten(0, 1),
                boxes.flatten(0, 1),
                samples,
                head.train_cfg[stage],
                imgs_whwh=decoded['sizes'],
            )['loss_bbox']
            weight = head.stage_loss_weights[stage] * share
            for name in ('loss_cls', 'loss_bbox', 'loss_iou'):
                losses[f's{stage}.{name}'] = values[name] * weight
        return losses
