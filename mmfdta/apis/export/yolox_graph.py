# Copyright (c) mmfdta authors.
"""YOLOX as a graph: pixels in, the boxes of all locations out."""

from typing import Any

from torch import Tensor

from mmfdta.models import TrackingByDetection
from mmfdta.models.detectors.yolox import is_yolox, locations
from mmfdta.runtime.detection import check_nms

from .detector_graph import DetectorGraph


class YOLOXGraph(DetectorGraph):
    """YOLOX without thresholds and suppression, which run on arrays.

    Args:
        model: A tracker on YOLOX.
        size: Height and width of all frames, with padding; None takes any.

    Raises:
        ValueError: If its suppression does not run without PyTorch.
    """

    kind = 'yolox'

    def __init__(self, model: Any, size: tuple[int, int] | None = None) -> None:
        super().__init__(model, size)
        self.detector = model.detector
        cfg = self.detector.bbox_head.test_cfg
        check_nms(cfg.get('nms'), 'model.detector.test_cfg.nms')
        self.test_cfg = dict(
            score_thr=cfg['score_thr'], nms=cfg['nms'] and dict(cfg['nms'])
        )

    @classmethod
    def fits(cls, model: Any) -> bool:
        """Whether a model is any tracker on YOLOX."""
        return isinstance(model, TrackingByDetection) and is_yolox(model.detector)

    def forward(
        self, frames: Tensor, sizes: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Detect, see :class:`DetectorGraph`; frames are padded to multiples of 32."""
        imgs, _ = self.normalization(frames, sizes)
        head = self.detector.bbox_head
        boxes, classes, objectness, labels = locations(
            head, *head(self.detector.extract_feat(imgs))
        )
        return boxes, (classes * objectness)[..., 0], labels[..., 0]
