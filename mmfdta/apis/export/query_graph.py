# Copyright (c) mmfdta authors.
"""A detector of MMDetection whose queries become objects, as a graph."""

from contextlib import nullcontext
from typing import Any

from torch import Tensor

from mmfdta.models.detectors import QueryDetector
from mmfdta.ops import exportable

from .detector_graph import DetectorGraph
from .hosts import find_decode


class QueryDetectorGraph(DetectorGraph):
    """A :class:`QueryDetector`, of which the last decoder layer is asked.

    Args:
        model: A tracker on it.
        size: Height and width of all frames, with padding; None takes any.

    Raises:
        ValueError: If its host cannot be exported.
    """

    def __init__(self, model: Any, size: tuple[int, int] | None = None) -> None:
        super().__init__(model, size)
        self.detector: Any = exportable(model.detector)
        self.decode = find_decode(self.detector)

    @classmethod
    def fits(cls, model: Any) -> bool:
        """Whether a model tracks what a host detects."""
        return isinstance(getattr(model, 'detector', None), QueryDetector)

    def forward(
        self, frames: Tensor, sizes: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Detect, see :class:`DetectorGraph`."""
        imgs, sizes = self.normalization(frames, sizes)
        detector, shape = self.detector, (imgs.shape[-2], imgs.shape[-1])
        host, read = detector.host, detector.interface
        feats = detector.extract_feat(imgs)
        attending: Any = nullcontext()
        if detector.depth_layers is not None:
            attending = detector.depth_layers.attending(
                read.decoder_layers(host), detector.see_depth(feats, shape, sizes)
            )
        with attending:
            decoded = self.decode(host, feats, shape, sizes)
        logits, boxes = read.predictions(host, decoded)
        scores, labels = logits[-1].sigmoid().max(-1)
        found = boxes[-1], scores, labels
        if 'embeddings' in self.outputs:
            return *found, read.embeddings(host, decoded)
        return found
