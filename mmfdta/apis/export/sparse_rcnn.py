# Copyright (c) mmfdta authors.
"""Sparse R-CNN in a graph: every box pools from its level by gather."""

from typing import Any

import torch
from mmcv.ops import RoIAlign
from mmdet.models.detectors import SparseRCNN
from mmdet.models.roi_heads import SingleRoIExtractor
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from torch import Tensor, nn

from mmfdta.models.detectors.base import level_tensors


def check_pooling(host: SparseRCNN) -> None:
    """Refuse a host whose boxes pool in a way that :func:`pool` does not compute.

    Args:
        host: The detector.

    Raises:
        ValueError: In one line, with the key of the config.
    """
    key = 'model.detector.host.roi_head'
    for extractor in host.roi_head.bbox_roi_extractor:
        if type(extractor) is not SingleRoIExtractor:
            raise ValueError(
                f'{key}.bbox_roi_extractor.type: found {type(extractor).__name__}, '
                'expected SingleRoIExtractor, the one that can be exported'
            )
        for layer in extractor.roi_layers:
            if (
                type(layer) is not RoIAlign
                or layer.pool_mode != 'avg'
                or layer.sampling_ratio < 1
            ):
                raise ValueError(
                    f'{key}.bbox_roi_extractor.roi_layer: found {layer}, expected '
                    "RoIAlign with pool_mode='avg' and sampling_ratio of at least 1, "
                    'which can be exported'
                )
    for stage in host.roi_head.bbox_head:
        if stage.bbox_coder.clip_border:
            raise ValueError(
                f'{key}.bbox_head.bbox_coder.clip_border: found True, expected False, '
                'which can be exported'
            )


def decode_sparse_rcnn(
    host: SparseRCNN,
    feats: tuple[Tensor, ...],
    shape: tuple[int, int],
    sizes: Tensor | None,
) -> dict[str, Any]:
    """Pool features in boxes, and refine queries and boxes, stage by stage.

    Args:
        host: The detector.
        feats: Its neck levels (F, C, h, w), finest first.
        shape: Height and width of the padded frames.
        sizes: The same without padding, int64 (F, 2); None if no frame is padded.

    Returns:
        What :meth:`SparseRCNNInterface.decode` does.
    """
    if sizes is None:
        sizes, _ = level_tensors((shape,), feats[0].device)
    # Width, height, width, height: (F, 1, 4), or (1, 1, 4) if they are of one size.
    scale = sizes.flip(1).repeat(1, 2)[:, None].to(feats[0].dtype)
    start, head = host.rpn_head, host.roi_head
    frames = feats[0].shape[0]
    boxes = bbox_cxcywh_to_xyxy(start.init_proposal_bboxes.weight) * scale
    boxes = boxes.expand(frames, -1, -1)
    queries = start.init_proposal_features.weight.expand(frames, -1, -1)
    stages = []
    for extractor, layer in zip(head.bbox_roi_extractor, head.bbox_head, strict=True):
        pooled = pool(extractor, feats[: extractor.num_inputs], boxes)
        cls_scores, deltas, queries, _ = layer(pooled, queries)
        boxes = layer.bbox_coder.decode(boxes.flatten(0, 1), deltas.flatten(0, 1))
        boxes = boxes.unflatten(0, (frames, -1))
        stages.append((cls_scores, boxes))
    return dict(stages=stages, queries=queries, sizes=scale)


def pool(extractor: nn.Module, feats: tuple[Tensor, ...], boxes: Tensor) -> Tensor:
    """Average samples of the level that fits a box's size, in the cells of the box.

    Args:
        extractor: A ``SingleRoIExtractor`` for which :func:`check_pooling` holds.
        feats: Levels (F, C, h, w), finest first.
        boxes: (F, Q, 4) xyxy in pixels of the image.

    Returns:
        (F * Q, C, rows, columns).
    """
    layer = extractor.roi_layers[0]
    frame = torch.arange(boxes.shape[0], device=boxes.device)[:, None]
    frame = frame.expand(boxes.shape[:2]).flatten()
    boxes = boxes.flatten(0, 1)
    level = extractor.map_roi_levels(
        torch.cat([frame[:, None].to(boxes), boxes], dim=1), len(feats)
    )
    shapes = tuple((feat.shape[-2], feat.shape[-1]) for feat in feats)
    sizes, starts = level_tensors(shapes, boxes.device)
    strides = [1 / part.spatial_scale for part in extractor.roi_layers]
    scaled = boxes / boxes.new_tensor(strides)[level, None]
    tokens = torch.cat([feat.flatten(2).transpose(1, 2) for feat in feats], dim=1)
    first = frame * tokens.shape[1] + starts[level]
    tokens = tokens.flatten(0, 1)
    rows, columns = (
        _samples(
            scaled[:, axis], scaled[:, axis + 2], sizes[level, 1 - axis], cells, layer
        )
        for axis, cells in ((1, layer.output_size[0]), (0, layer.output_size[1]))
    )
    width = sizes[level, 1, None, None]
    total: Any = 0
    for y, share_y in rows:
        for x, share_x in columns:
            index = first[:, None, None] + y[:, :, None] * width + x[:, None]
            share = share_y[:, :, None] * share_x[:, None]
            total = total + tokens[index] * share[..., None]
    count = layer.sampling_ratio
    cells = total.unflatten(2, (-1, count)).unflatten(1, (-1, count)).mean((2, 4))
    return cells.permute(0, 3, 1, 2)


def _samples(
    low: Tensor, high: Tensor, length: Tensor, cells: int, layer: RoIAlign
) -> list[tuple[Tensor, Tensor]]:
    """Where the samples of boxes lie along an axis: two pixels and their shares.

    Args:
        low: Where the boxes begin, in pixels of their level, (R,).
        high: Where they end.
        length: Of their level, in pixels, int64 (R,).
        cells: Of a box.
        layer: What pools.

    Returns:
        Twice index and share of a pixel, (R, cells * samples).
    """
    count = cells * layer.sampling_ratio
    low, extent = low - 0.5 * layer.aligned, high - low
    if not layer.aligned:
        extent = extent.clamp(min=1)
    steps = (torch.arange(count, device=low.device) + 0.5) / count
    points = low[:, None] + steps * extent[:, None]
    last = length[:, None] - 1
    inside = (points >= -1) & (points <= length[:, None])
    points = torch.minimum(points.clamp(min=0), last.to(points))
    before = points.floor()
    share = points - before
    before = before.long()
    after = torch.minimum(before + 1, last)
    return [(before, (1 - share) * inside), (after, share * inside)]
