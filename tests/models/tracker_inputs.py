# Copyright (c) mmfdta authors.
"""What trackers are given, from what a detector says."""

from mmdet.structures import DetDataSample
from torch import Tensor

from mmfdta.models.detectors import host_detections


def detected(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    size: tuple[int, int],
    embeddings: Tensor | None = None,
    frame_id: int = -1,
) -> DetDataSample:
    """A frame whose queries have boxes cxcywh (Q, 4) in 0..1 of ``size``."""
    columns = (x[None] for x in (boxes, scores, labels))
    parts = None if embeddings is None else embeddings[None]
    frame = DetDataSample(metainfo=dict(frame_id=frame_id, ori_shape=size))
    (frame.pred_instances,) = host_detections(*columns, [size], parts)
    return frame
