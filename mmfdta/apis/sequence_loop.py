# Copyright (c) mmfdta authors.
"""The loop of a model over the sequences of a data set, frame by frame.

A model that detects and associates apart has two methods besides ``predict``:
``detect(imgs, frames)`` sets ``pred_instances`` of each frame, and
``associate(frame, tracker=None)`` sets ``pred_track_instances``. Its detections are
taken from a store where they are known, and kept there where they are not. Any other
tracker is asked with ``predict``, and a plain detector can only detect.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmfdta.datasets import ClipIndex, MOTSequenceDataset
from mmfdta.engine.frame_batches import frames_of
from mmfdta.engine.precision import precision_of
from mmfdta.ops.linear import linear_flops
from mmfdta.utils.instances import take_rows
from mmfdta.utils.original_frame import attach_frame, needs_frames

from .detection_store import (
    LOWEST_SCORE,
    TIMED,
    DetectionStore,
    SequenceDetections,
    detects_apart,
    device_of,
    move_embeddings,
)
from .machine import Clock

STAGES = (*TIMED, 'association')
"""decode: read, decode and resize; preprocess: normalise and pad on the device."""
_SHAPES = ('ori_shape', 'img_shape', 'scale_factor')
# Attributes in which trackers keep the score that a detection must have.
_THRESHOLDS = ('det_thr', 'score_thr', 'obj_score_thr', 'obj_score_thrs')


class SequenceLoop:
    """Runs a model over the sequences of a data set.

    Args:
        model: A tracker or a detector with its weights, in evaluation mode.
        dataset: The data.
        store: Where detections are read and kept; None keeps none, and those of
            :class:`TextDetections` are never kept.
        lowest_score: Only detections with a higher score are handed on, whether they
            come out of the store or not. None takes 0.05, or what the model's tracker
            asks for if that is lower; a model that only predicts sees all.
        batch_size: Frames that the detector takes at a time. Times are those of
            single frames, as online tracking has them, with 1 only.
        machine: What times are taken on; detections whose times were taken on
            something else are made again. None takes them as they are.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: MOTSequenceDataset,
        store: DetectionStore | None = None,
        lowest_score: float | None = None,
        batch_size: int = 1,
        machine: dict | None = None,
    ) -> None:
        self.model = model
        self.dataset = dataset
        # Text is read as fast from its own file, and may change.
        reads_text = getattr(getattr(model, 'detector', None), 'reads_text', False)
        self.store = None if reads_text else store
        self.batch_size = batch_size
        self.machine = machine
        self.device = device_of(model)
        if lowest_score is None:
            lowest_score = lowest_used_score(getattr(model, 'tracker', None))
        self.lowest_score = lowest_score
        self._apart = detects_apart(model)
        self._clock = Clock(self.device)

    # ------------------------------------------------------------------ whole runs
    @torch.no_grad()
    def warm_up(self, index: int, frames: int) -> dict[str, int]:
        """Run some frames for nothing, and count what the next one costs.

        Args:
            index: Index of the sequence.
            frames: How many frames, if there are so many.

        Returns:
            What the tracker costs on any machine: ``parameters`` of its networks;
            ``flops`` of one frame, matrix products and convolutions, a multiplication
            and an addition counted as two.
        """
        last = min(frames, len(self.dataset.sequences[index]) - 1)
        for number in range(last):
            self._predict(self._batch(index, [number])[0])
        batch, _ = self._batch(index, [last])
        with FlopCounterMode(display=False, custom_mapping=linear_flops()) as counter:
            self._predict(batch)
        parameters = sum(p.numel() for p in self.model.parameters())
        return dict(parameters=parameters, flops=counter.get_total_flops())

    def reads(self, index: int) -> SequenceDetections | None:
        """Return the kept detections of a sequence; None if it has to be looked at.

        Args:
            index: Index of the sequence.
        """
        if self.store is None or not self._apart and hasattr(self.model, 'tracker'):
            return None
        batch_size = None if self.machine is None else self.batch_size
        sequence = self.dataset.sequences[index]
        return self.store.read(sequence, self.lowest_score, batch_size, self.machine)

    def detect_all(
        self, on_frame: Callable[[], None] | None = None
    ) -> list[SequenceDetections]:
        """Return the detections of all sequences, from the store or newly made.

        Args:
            on_frame: Called after each frame that is looked at.
        """
        indices = range(len(self.dataset.sequences))
        return [self.reads(i) or self.detect(i, on_frame=on_frame) for i in indices]

    @torch.no_grad()
    def track(
        self,
        index: int,
        known: SequenceDetections | None = None,
        tracker: Any = None,
    ) -> Iterator[tuple[DetDataSample, np.ndarray]]:
        """Track a sequence.

        Args:
            index: Index of the sequence.
            known: What the detector found in it; None detects, and keeps the
                detections in the store when all frames are done.
            tracker: An object of the model's kind of tracker that takes the place of
                the model's own; only of a model that detects and associates apart.

        Yields:
            Each frame with ``pred_track_instances``, and float64 (4,), the seconds
            that the :data:`STAGES` took: of kept detections those of the run that
            detected; NaN for the association of a model that only predicts.
        """
        if known is not None:
            yield from self._associate_known(index, known, tracker)
            return
        if not self._apart:
            for number in range(len(self.dataset.sequences[index])):
                batch, times = self._batch(index, [number])
                (frame,) = self._predict(batch)
                yield frame, np.append(np.diff([*times, self._clock.now()]), np.nan)
            return
        rows = []
        for frame, seconds in self._detect_frames(index):
            rows.append(_row(frame, seconds))
            yield frame, np.append(seconds, self._associate(frame, tracker))
        self._finish(index, rows, keep=True)

    @torch.no_grad()
    def detect(
        self,
        index: int,
        numbers: Sequence[int] | None = None,
        on_frame: Callable[[], None] | None = None,
    ) -> SequenceDetections:
        """Detect in a sequence, and keep what was found if that is all of it.

        Args:
            index: Index of the sequence.
            numbers: Its frames, from 0; None takes all.
            on_frame: Called after each frame.

        Returns:
            The detections in these frames.
        """
        rows = []
        for frame, seconds in self._detect_frames(index, numbers):
            rows.append(_row(frame, seconds))
            if on_frame is not None:
                on_frame()
        return self._finish(index, rows, keep=numbers is None)

    @torch.no_grad()
    def look_into(
        self, index: int, numbers: Sequence[int]
    ) -> Iterator[tuple[InstanceData, Tensor]]:
        """Detect in a sequence, and show what the decoder layers say; nothing is kept.

        Args:
            index: Index of the sequence.
            numbers: Its frames, from 0.

        Yields:
            All Q queries of each frame as detections, in their order, and what the
            decoder layers gave them, (L, Q, C), on the device.

        Raises:
            ValueError: If the detector has no such layers.
        """
        detector = getattr(self.model, 'detector', self.model)
        if not hasattr(detector, 'detect_by_layer'):
            raise ValueError(
                f'model.detector.type: found {type(detector).__name__}, which does not '
                'show its decoder layers, expected FDTADetector or QueryDetector'
            )
        for first in range(0, len(numbers), self.batch_size):
            batch, _ = self._batch(index, numbers[first : first + self.batch_size])
            imgs, frames = frames_of(batch)
            with self._in_precision():
                outputs, layers = detector.detect_by_layer(imgs, frames)
            yield from zip(outputs.on_host(frames), layers.unbind(1), strict=True)

    # ---------------------------------------------------------------- single frames
    def _batch(self, index: int, numbers: Sequence[int]) -> tuple[dict, list[float]]:
        """Make a model's inputs; return the times before and after both stages."""
        times = [self._clock.now()]
        sample = self.dataset[ClipIndex(index, tuple(numbers))]
        times.append(self._clock.now())
        batch = self.model.data_preprocessor(pseudo_collate([sample]), False)
        return batch, [*times, self._clock.now()]

    def _predict(self, batch: dict) -> list[DetDataSample]:
        """Whole way of a batch's frames, whatever the model is."""
        if self._apart or hasattr(self.model, 'tracker'):
            return list(self.model(**batch, mode='predict')[0])
        return self._find(batch)

    def _detect_frames(
        self, index: int, numbers: Sequence[int] | None = None
    ) -> Iterator[tuple[DetDataSample, np.ndarray]]:
        """Yield frames with detections above the lowest score, and seconds (3,)."""
        if numbers is None:
            numbers = range(len(self.dataset.sequences[index]))
        for first in range(0, len(numbers), self.batch_size):
            batch_numbers = numbers[first : first + self.batch_size]
            batch, times = self._batch(index, batch_numbers)
            frames = self._find(batch)
            seconds = np.diff([*times, self._clock.now()]) / len(frames)
            for frame in frames:
                instances = frame.pred_instances
                kept = instances.scores > self.lowest_score
                frame.pred_instances = take_rows(instances, kept)
                yield frame, seconds

    def _in_precision(self) -> AbstractContextManager[None]:
        """Compute as the model's forward pass does, which is bypassed here."""
        return precision_of(self.model).on(self.device.type)

    def _find(self, batch: dict) -> list[DetDataSample]:
        imgs, frames = frames_of(batch)
        with self._in_precision():
            if self._apart:
                self.model.detect(imgs, frames)
                return frames
            return self.model.predict(imgs, frames)

    def _associate(self, frame: DetDataSample, tracker: Any) -> float:
        """Track a frame with its detections; return the seconds it took."""
        asked = getattr(self.model, 'tracker', None) if tracker is None else tracker
        if needs_frames(asked):
            # Reading is no part of association: online, the frame is in memory.
            attach_frame(frame, frame.img_path)()
        start = self._clock.now()
        # Models that keep one tracker may take no other.
        options = {} if tracker is None else {'tracker': tracker}
        with self._in_precision():
            self.model.associate(frame, **options)
        return self._clock.now() - start

    def _associate_known(
        self, index: int, known: SequenceDetections, tracker: Any
    ) -> Iterator[tuple[DetDataSample, np.ndarray]]:
        """Track on what is known; a pixel is looked at by a tracker that needs it."""
        sequence = self.dataset.sequences[index]
        folder = Path(sequence.image_dir)
        facts = dict(video_id=index, video_length=len(sequence), sequence=sequence.name)
        for number, found in enumerate(known.frames):
            path = str(folder / str(sequence.image_names[number]))
            meta = dict(known.shapes[number], frame_id=number, img_path=path, **facts)
            frame = DetDataSample(metainfo=meta)
            frame.pred_instances = move_embeddings(found, self.device)
            spent = self._associate(frame, tracker)
            yield frame, np.append(known.seconds[number], spent)

    def _finish(self, index: int, rows: list, keep: bool) -> SequenceDetections:
        frames, shapes, seconds = map(list, zip(*rows, strict=True))
        found = SequenceDetections(
            frames,
            shapes,
            np.stack(seconds),
            self.lowest_score,
            self.batch_size,
            self.machine or {},
        )
        if keep and self.store is not None:
            self.store.write(self.dataset.sequences[index], found)
        return found


def _row(frame: DetDataSample, seconds: np.ndarray) -> tuple:
    """A frame's part of :class:`SequenceDetections`: detections, shapes, seconds."""
    found = move_embeddings(frame.pred_instances, torch.device('cpu'))
    if 'queries' in found:
        found = found[found.pop('queries').argsort()]
    return found, {k: frame.get(k) for k in _SHAPES if k in frame}, seconds


def lowest_used_score(tracker: Any) -> float:
    """Say which detections a tracker has to see.

    Args:
        tracker: Any tracker, or None.

    Returns:
        0.05, or less if a threshold of the tracker for scores is lower.
    """
    found = [LOWEST_SCORE]
    for name in _THRESHOLDS:
        value = getattr(tracker, name, None)
        values = value.values() if isinstance(value, dict) else [value]
        found += [float(v) for v in values if isinstance(v, int | float)]
    return min(found)
