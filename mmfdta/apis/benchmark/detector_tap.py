# Copyright (c) mmfdta authors.
"""Stands between a tracker and its detector: measures, records, replays."""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmfdta.models import FDTADetector
from mmfdta.models.detectors import DetectorOutputs

from .machine import Clock

LOWEST_SCORE = 0.05
"""Detections that are not above it are not shared; ByteTrack's lowest is 0.1."""

Columns = dict[str, Tensor]


class _Queries:
    """FDTA's detector: raw outputs for the queries of a frame."""

    method = 'detect'

    @staticmethod
    def pack(outputs: DetectorOutputs) -> Columns:
        logits = outputs.cls_scores[-1, 0]
        kept = logits.sigmoid().amax(-1) > LOWEST_SCORE
        columns = dict(
            logits=logits,
            boxes=outputs.bbox_preds[-1, 0],
            embeddings=outputs.embeddings[0],
        )
        return {name: column[kept].cpu() for name, column in columns.items()}

    @staticmethod
    def unpack(
        columns: Columns, device: torch.device, *args: object
    ) -> DetectorOutputs:
        moved = {name: column.to(device) for name, column in columns.items()}
        return DetectorOutputs(
            moved['logits'][None, None],
            moved['boxes'][None, None],
            moved['embeddings'][None],
        )


class _Boxes:
    """A detector of MMDetection: boxes with scores and labels."""

    method = 'predict'

    @staticmethod
    def pack(samples: list) -> Columns:
        found = samples[0].pred_instances
        found = found[found.scores > LOWEST_SCORE]
        return {name: column.cpu() for name, column in found.items()}

    @staticmethod
    def unpack(
        columns: Columns, device: torch.device, inputs: Tensor, samples: list, **_: Any
    ) -> list:
        moved = {name: column.to(device) for name, column in columns.items()}
        samples[0].pred_instances = InstanceData(**moved)
        return samples


class DetectorTap:
    """Wraps the detector of a tracker that is run frame by frame.

    Args:
        model (nn.Module): The tracker.
        clock (Clock): Tells the time.
        shared (bool): Cut the detections down to those that are shared, and keep
            them in ``columns``.

    Attributes:
        calls (int): How often the detector was asked.
        seconds (float): How long the detector took, in all.
        aside (float): How long recording and replaying took, in all.
        columns (dict[str, Tensor] | None): What it last found, if shared.
        replayed (dict[str, Tensor] | None): What to answer instead of detecting.
    """

    def __init__(self, model: nn.Module, clock: Clock, shared: bool = False) -> None:
        self.shared = shared
        self.calls = 0
        self.seconds = self.aside = 0.0
        self.columns: Columns | None = None
        self.replayed: Columns | None = None
        self._clock = clock
        detector = getattr(model, 'detector', None)
        if detector is None:
            return
        self._form = _Queries if isinstance(detector, FDTADetector) else _Boxes
        self._device = next(detector.parameters()).device
        self._detect: Callable = getattr(detector, self._form.method)
        setattr(detector, self._form.method, self._answer)

    def _answer(self, *args: Any, **kwargs: Any) -> Any:
        """Stand for the detector's method, whatever that takes and returns."""
        self.calls += 1
        start = self._clock.now()
        if self.replayed is not None:
            outputs = self._form.unpack(self.replayed, self._device, *args, **kwargs)
            self.aside += self._clock.now() - start
            return outputs
        outputs = self._detect(*args, **kwargs)
        found = self._clock.now()
        self.seconds += found - start
        if self.shared:
            self.columns = self._form.pack(outputs)
            outputs = self._form.unpack(self.columns, self._device, *args, **kwargs)
            self.aside += self._clock.now() - found
        return outputs
