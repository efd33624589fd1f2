# Copyright (c) mmfdta authors.
"""YOLOX with thresholds and suppression on the host."""

import torch
from mmdet.models.dense_heads import YOLOXHead
from mmdet.models.detectors import SingleStageDetector
from mmdet.structures import SampleList
from mmdet.utils import InstanceList
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmfdta.utils.transfers import to_host


def is_yolox(detector: nn.Module) -> bool:
    """Return whether a detector predicts as MMDetection's YOLOX, with any backbone."""
    head = getattr(detector, 'bbox_head', None)
    return (
        isinstance(head, YOLOXHead)
        and type(detector).predict is SingleStageDetector.predict
        and type(head).predict is YOLOXHead.predict
        and type(head).predict_by_feat is YOLOXHead.predict_by_feat
    )


def find_on_host(
    detector: SingleStageDetector, imgs: Tensor, frames: SampleList
) -> InstanceList:
    """Detect with YOLOX, with one wait for the device for all frames.

    MMDetection selects boxes on the device, and waits for their number several times
    per frame. Here the best class of every location is copied to the host, and
    thresholds and suppression run there; the detections are the same.

    Args:
        detector: A detector for which :func:`is_yolox` is True.
        imgs: Normalised frames (F, 3, H, W).
        frames: Their meta information.

    Returns:
        For each frame, on the CPU: ``bboxes`` (n, 4) float32 xyxy in pixels of the
        original frame, ``scores`` float32 and ``labels`` int64 (n,).
    """
    head = detector.bbox_head
    levels = head(detector.extract_feat(imgs))
    found = []
    for table in to_host(torch.cat(locations(head, *levels), dim=-1)):
        scores = table[:, 4] * table[:, 5]
        # A score that is NaN stays, so that the tracker refuses it. A clone, because
        # MMDetection changes boxes in place.
        found.append(
            InstanceData(
                bboxes=table[:, :4].clone(), scores=scores, labels=table[:, 6].long()
            )[~(scores < head.test_cfg.score_thr)]
        )
    return [
        head._bbox_post_process(
            results=instances, cfg=head.test_cfg, rescale=True, img_meta=frame.metainfo
        )
        for instances, frame in zip(found, frames, strict=True)
    ]


def locations(
    head: YOLOXHead,
    cls_scores: list[Tensor],
    bbox_preds: list[Tensor],
    objectnesses: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Decode the head's outputs at all N locations.

    Args:
        head: The head.
        cls_scores: Class logits of each level, (F, K, h, w).
        bbox_preds: Boxes of each level, (F, 4, h, w).
        objectnesses: Logits of each level, (F, 1, h, w).

    Returns:
        Boxes float32 (F, N, 4), xyxy in pixels of the network's input, score of the
        best class, objectness, both float32 (F, N, 1), and that class, int64 (F, N, 1).
    """

    def join(levels: list[Tensor]) -> Tensor:
        flat = [level.flatten(2).transpose(1, 2) for level in levels]
        return torch.cat(flat, dim=1).float()

    priors = head.prior_generator.grid_priors(
        [level.shape[2:] for level in cls_scores],
        device=cls_scores[0].device,
        with_stride=True,
    )
    scores, labels = join(cls_scores).sigmoid().max(-1, keepdim=True)
    boxes = head._bbox_decode(torch.cat(priors), join(bbox_preds))
    return boxes, scores, join(objectnesses).sigmoid(), labels
