# Copyright (c) mmfdta authors.
"""The graph of FDTA's own detector, Deformable DETR with or without depth."""

from typing import Any

from torch import Tensor

from mmfdta.models.detectors import FDTADetector
from mmfdta.ops import exportable

from .detector_graph import DetectorGraph


class FDTADetectorGraph(DetectorGraph):
    """:class:`FDTADetector` of FDTA, of MOTIP, or below a tracker on boxes.

    Args:
        model: A tracker with it.
        size: Height and width of all frames, with padding; None takes any.
    """

    def __init__(self, model: Any, size: tuple[int, int] | None = None) -> None:
        super().__init__(model, size)
        self.detector = exportable(model.detector)

    @classmethod
    def fits(cls, model: Any) -> bool:
        """Whether the model's detector is an :class:`FDTADetector`."""
        return type(model.detector) is FDTADetector

    def forward(
        self, frames: Tensor, sizes: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Detect.

        Args:
            frames: uint8 (F, 3, H, W).
            sizes: int64 (F, 2), height and width without padding; with a fixed size.

        Returns:
            See :class:`DetectorGraph`.
        """
        imgs, sizes = self.normalization(frames, sizes)
        outputs = self.detector.network(imgs, sizes)
        found = outputs.best_classes()
        return (*found, outputs.embeddings) if 'embeddings' in self.outputs else found
