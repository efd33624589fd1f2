# Copyright (c) mmfdta authors.
"""Tracks sequences frame by frame and takes the time of every stage."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.dataset import pseudo_collate
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmfdta.datasets import ClipIndex, MOTSequenceDataset
from mmfdta.evaluation.records import FrameRecord, make_record
from mmfdta.ops.linear import linear_flops

from .detections import TIMED, SequenceDetections
from .detector_tap import DetectorTap
from .machine import Clock

STAGES = (*TIMED, 'association')


@dataclass(frozen=True)
class Cost:
    """What a tracker costs, whatever the machine.

    Attributes:
        parameters (int): Numbers in its networks.
        flops (int): Floating point operations of one frame: matrix products and
            convolutions, a multiplication and an addition counted as two.
    """

    parameters: int
    flops: int


class FrameRunner:
    """Runs a tracker over the sequences of a data set, one frame at a time.

    Args:
        model (nn.Module): The tracker, in evaluation mode.
        dataset (MOTSequenceDataset): The data.
        device (str): Where the model is.
        shared (bool): Whether its detections are to be shared with others.
    """

    def __init__(
        self, model: nn.Module, dataset: MOTSequenceDataset, device: str, shared: bool
    ) -> None:
        self._model = model
        self._dataset = dataset
        self._clock = Clock(device)
        self._tap = DetectorTap(model, self._clock, shared)

    @property
    def asks_detector(self) -> bool:
        """bool: Whether the detector was asked so far; MOTR's cannot be alone."""
        return self._tap.calls > 0

    @torch.no_grad()
    def warm_up(self, index: int, frames: int) -> Cost:
        """Run some frames for nothing, and count what the next one costs.

        Args:
            index (int): Index of the sequence.
            frames (int): How many frames.

        Returns:
            Cost: Parameters and operations.
        """
        for number in range(min(frames, len(self._dataset.sequences[index]) - 1)):
            self._track(index, number)
        last = min(frames, len(self._dataset.sequences[index]) - 1)
        batch = self._prepare(self._dataset[ClipIndex(index, (last,))])
        with FlopCounterMode(display=False, custom_mapping=linear_flops()) as counter:
            self._model(**batch, mode='predict')
        parameters = sum(p.numel() for p in self._model.parameters())
        return Cost(parameters, counter.get_total_flops())

    @torch.no_grad()
    def run(self, index: int) -> Iterator[tuple[FrameRecord, np.ndarray]]:
        """Track a sequence.

        Args:
            index (int): Index of the sequence.

        Yields:
            tuple[FrameRecord, np.ndarray]: Each frame's tracks, and float64 (4,),
            the seconds that the :data:`STAGES` took; NaN for the association of a
            tracker that cannot be told from its detector.
        """
        self._found = []
        for number in range(len(self._dataset.sequences[index])):
            frame, seconds = self._track(index, number)
            if self._tap.shared:
                self._found.append((self._tap.columns, seconds[:3], frame))
            yield make_record(frame, mot_classes=True), seconds

    def detections(self) -> SequenceDetections:
        """Return what the detector found in the last sequence."""
        columns, seconds, frames = zip(*self._found, strict=True)
        names = ('ori_shape', 'img_shape', 'scale_factor')
        shapes = {name: frames[0].get(name) for name in names}
        return SequenceDetections(list(columns), np.stack(seconds), shapes)

    @torch.no_grad()
    def replay(
        self, index: int, detections: SequenceDetections
    ) -> Iterator[tuple[FrameRecord, np.ndarray]]:
        """Track a sequence on the detections of an earlier run; see :meth:`run`.

        Args:
            index (int): Index of the sequence.
            detections (SequenceDetections): What its detector found; the times of
                its stages are those of the earlier run.

        Yields:
            tuple[FrameRecord, np.ndarray]: As :meth:`run`.
        """
        for number, columns in enumerate(detections.frames):
            self._tap.replayed = columns
            batch = self._prepare(self._without_pixels(index, number, detections))
            frame, spent, _ = self._predict(batch)
            seconds = np.append(detections.seconds[number], spent)
            yield make_record(frame, mot_classes=True), seconds
        self._tap.replayed = None

    def _track(self, index: int, number: int) -> tuple[DetDataSample, np.ndarray]:
        start = self._clock.now()
        sample = self._dataset[ClipIndex(index, (number,))]
        decoded = self._clock.now()
        batch = self._prepare(sample)
        prepared = self._clock.now()
        calls = self._tap.calls
        frame, association, detector = self._predict(batch)
        if self._tap.calls == calls:
            detector, association = association, np.nan
        seconds = [decoded - start, prepared - decoded, detector, association]
        return frame, np.array(seconds)

    def _prepare(self, sample: dict) -> dict:
        return self._model.data_preprocessor(pseudo_collate([sample]), False)

    def _predict(self, batch: dict) -> tuple[DetDataSample, float, float]:
        """The tracked frame, the seconds of association and of the detector."""
        tap = self._tap
        detector, aside = tap.seconds, tap.aside
        start = self._clock.now()
        frame = self._model(**batch, mode='predict')[0][0]
        spent = self._clock.now() - start
        detector, aside = tap.seconds - detector, tap.aside - aside
        return frame, spent - detector - aside, detector

    def _without_pixels(
        self, index: int, number: int, detections: SequenceDetections
    ) -> dict:
        """A sample of a frame whose image is one pixel: nobody looks at it."""
        sequence = self._dataset.sequences[index]
        frame = DetDataSample(
            metainfo=dict(
                detections.shapes,
                frame_id=number,
                video_id=index,
                video_length=len(sequence),
                sequence=sequence.name,
            )
        )
        clip = TrackDataSample()
        clip.video_data_samples = [frame]
        pixel = torch.zeros(1, 3, 1, 1, dtype=torch.uint8)
        return dict(inputs=dict(img=pixel), data_samples=clip)
