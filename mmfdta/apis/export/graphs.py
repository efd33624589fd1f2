# Copyright (c) mmfdta authors.
"""The two graphs of a tracker: its detector, and the scores of identities."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from mmfdta.models import FDTA, MOTR, BoxFDTA, TrackingByDetection
from mmfdta.models.trackers import TrajectoryHistory

from .detector_graph import DetectorGraph
from .fdta_graph import FDTADetectorGraph
from .query_graph import QueryDetectorGraph
from .yolox_graph import YOLOXGraph

#: Kinds of detectors that can be exported; the first that fits is taken.
KINDS: tuple[type[DetectorGraph], ...] = (
    FDTADetectorGraph,
    QueryDetectorGraph,
    YOLOXGraph,
)


def refuse_model(kind: type) -> None:
    """Say why models of a class cannot be exported, if they cannot.

    Args:
        kind: The class.

    Raises:
        ValueError: With a line that says it.
    """
    if issubclass(kind, MOTR):
        raise ValueError(
            'model.type: found MOTR, whose track queries go from frame to frame inside '
            'of the network; mmfdta export takes FDTA, MOTIP and TrackingByDetection'
        )
    if issubclass(kind, BoxFDTA):
        raise ValueError(
            'model.type: found BoxFDTA, whose association on boxes mmfdta export does '
            'not take; export a tracker on embeddings (FDTA) or a motion tracker '
            '(TrackingByDetection), or track with mmfdta track and PyTorch'
        )
    if not issubclass(kind, FDTA | TrackingByDetection):
        raise ValueError(
            f'model.type: found {kind.__name__}, which mmfdta export cannot take '
            'apart; expected FDTA (MOTIP is one without adapters) or '
            'TrackingByDetection, which puts ByteTracker, OCSORTTracker or SORTTracker '
            'on any detector'
        )


def detector_graph(
    model: nn.Module, size: tuple[int, int] | None = None
) -> DetectorGraph:
    """Make the graph of a model's detector.

    Args:
        model: FDTA or TrackingByDetection, in evaluation mode.
        size: Height and width of all frames, with padding; None takes any.

    Returns:
        It shares the weights.

    Raises:
        ValueError: If the model or its detector cannot be exported.
    """
    refuse_model(type(model))
    for kind in KINDS:
        if kind.fits(model):
            return kind(model, size).eval()
    raise ValueError(
        f'model.detector: found {type(model.detector).__name__}, which mmfdta export '
        'does not know; expected FDTADetector, QueryDetector or a YOLOX'
    )


class AssociationGraph(nn.Module):
    """:meth:`FDTA.score_identities` as a function of tensors, ready for `to_onnx`.

    Args:
        model: FDTA, in evaluation mode; its weights are shared.
    """

    outputs = ('scores',)

    def __init__(self, model: FDTA) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, features: Tensor, missing: Tensor, words: Tensor, embeddings: Tensor
    ) -> Tensor:
        """Score the ID words for the detections of a frame.

        Args:
            features: Embeddings of the detector (T, N, C), anything where missing.
            missing: (T, N) bool.
            words: (N,) int64 ID words.
            embeddings: Those of the detections, (n, C).

        Returns:
            (n, K + 1); the last column is "newborn".
        """
        history = TrajectoryHistory(features, missing, words)
        return self.model.score_identities(history, embeddings)

    def example(
        self, frames: int = 4, tracks: int = 3, detections: int = 5
    ) -> dict[str, Tensor]:
        """Inputs of random embeddings; the newest track is missing in old frames.

        Args:
            frames: T.
            tracks: N, at most as many as there are words.
            detections: n.
        """
        generator = torch.Generator().manual_seed(0)
        channels = self.model.tracker.embed_dims
        vocabulary = self.model.tracker.num_id_vocabulary
        missing = torch.rand(frames, tracks, generator=generator) < 0.3
        missing[: frames // 2, tracks - 1] = True
        missing[-1, 0] = False
        features = torch.randn(frames, tracks, channels, generator=generator)
        words = torch.randperm(vocabulary, generator=generator)[:tracks].sort().values
        return dict(
            features=features.masked_fill(missing[..., None], 0.0),
            missing=missing,
            words=words,
            embeddings=torch.randn(detections, channels, generator=generator),
        )

    @staticmethod
    def dynamic() -> dict[str, dict[int, Any]]:
        """Axes of the inputs that have any length: input -> axis -> its name."""
        frames, tracks, detections = map(Dim, ('frames', 'tracks', 'detections'))
        return dict(
            features={0: frames, 1: tracks},
            missing={0: frames, 1: tracks},
            words={0: tracks},
            embeddings={0: detections},
        )
