# Copyright (c) mmfdta authors.
"""FDTA's tracker: the state machine of `assignment` and a memory of embeddings."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from mmfdta.utils.transfers import to_device

from .assignment import IdentityAssignment, NamedDetections


@dataclass
class TrajectoryHistory:
    """Live trajectories of the last T frames; times are 0..T-1, now is T.

    Attributes:
        features: (T, N, C) embeddings, 0 where missing.
        masks: (T, N) bool, True where missing.
        id_labels: (N,) int64 ID words, ascending.
    """

    features: Tensor
    masks: Tensor
    id_labels: Tensor


IdentityScorer = Callable[[TrajectoryHistory, Tensor], Tensor]


@dataclass(frozen=True)
class AssociatedFrame:
    """What the tracker decided in a frame, for those who want to know why.

    Attributes:
        rows: (n,) int64, places in ``pred_instances`` of the detections that took part.
        id_scores: (n, K + 1) float32 of the network; None if it was not asked: there
            were no detections or no live trajectories.
        live: (K,) bool, words of the trajectories that were live before the frame.
        owners: (K,) int64, identities that the words stood for before the frame, also
            of words that are live no more; -1 of words that were never lent.
        classes: (K,) int64, their classes.
        words: (n,) int64 words that the protocol gave, K for none.
        named: What the detections are called after newborns were let in.
    """

    rows: np.ndarray
    id_scores: np.ndarray | None
    live: np.ndarray
    owners: np.ndarray
    classes: np.ndarray
    words: np.ndarray
    named: NamedDetections


FrameObserver = Callable[[AssociatedFrame], None]


class EmbeddingMemory:
    """Sliding window over the embeddings of the last frames, one column per ID word.

    The window slides over a buffer of twice its length and jumps back to the front
    when it reaches the end: a frame costs one row, not a copy of the window. The
    buffer lives on the device of the embeddings; indices come from the host.

    Args:
        length: Frames in the window.
        num_words: K.
    """

    def __init__(self, length: int, num_words: int) -> None:
        self.length = length
        self.num_words = num_words
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._start = self._end = 0
        # The first frame tells device, dtype and channels.
        self._buffer: Tensor | None = None

    def __len__(self) -> int:
        """Frames in the window now."""
        return self._end - self._start

    @property
    def device(self) -> torch.device:
        """Where the embeddings are."""
        return torch.device('cpu') if self._buffer is None else self._buffer.device

    def append(self, words: np.ndarray, embeddings: Tensor) -> None:
        """Add a frame; the oldest one leaves when the window is full.

        Args:
            words: (n,) int64, different from each other.
            embeddings: (n, C) of the detections that have them.
        """
        if self._buffer is None:
            shape = 2 * self.length, self.num_words, embeddings.shape[-1]
            self._buffer = embeddings.new_zeros(shape)
        buffer = self._buffer
        if len(self) == self.length:
            self._start += 1
        if self._end == 2 * self.length:
            frames = len(self)
            buffer[:frames] = buffer[self._start :]
            self._start, self._end = 0, frames
        row = buffer[self._end].zero_()
        row.index_copy_(0, _index(words, buffer), embeddings.to(buffer))
        self._end += 1

    def forget(self, words: np.ndarray) -> None:
        """Empty the columns of words that are to name something else.

        Args:
            words: (n,) int64.
        """
        if self._buffer is not None and len(words):
            window = self._buffer[self._start : self._end]
            window.index_fill_(1, _index(words, window), 0)

    def read(self, words: Tensor) -> Tensor:
        """Return the embeddings (T, n, C) of ``words`` (n,) int64, 0 where missing."""
        if self._buffer is None:
            raise ValueError('nothing is remembered yet')
        return self._buffer[self._start : self._end].index_select(1, words)


def as_instances(
    bboxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, **columns: np.ndarray
) -> InstanceData:
    """Instances on the CPU, of arrays of one length."""
    columns = dict(bboxes=bboxes, scores=scores, labels=labels, **columns)
    return InstanceData(**{k: torch.from_numpy(v) for k, v in columns.items()})


@MODELS.register_module()
class FDTATracker(IdentityAssignment):
    """Online association with a vocabulary of ID words (paper, Sec. 3.1).

    A detection takes the word of a live trajectory if the ID scores say so; else it
    is newborn, and kept if its score is high enough. A newborn gets a new identity
    and the least recently used word; if that word's trajectory was still remembered,
    it ends. A trajectory ends after `miss_tolerance - 1` frames without a detection.

    The object is the state of one video; no network is in it. `track` takes
    detections and a function that scores words, and makes one copy from the device
    per frame, of the ID scores.

    Args:
        num_id_vocabulary: K, number of ID words; inside of FDTA the model's.
        miss_tolerance: One more than the frames that are remembered; at least 2;
            inside of FDTA the model's `window` if it is not given.
        det_thr: Only detections with a higher score take part.
        newborn_thr: Only detections with a higher score start a trajectory.
        id_thr: Lowest ID score that continues a trajectory.
        area_thr: Only detections with a larger area (pixels) take part.
        protocol: 'object-max', 'hungarian' or 'id-max', see `assignment`.
        embed_dims: C, channels of the embeddings; inside of FDTA the model's.
        overflow: What happens with more objects than words. 'drop': newborns may take
            the words of trajectories that are not seen in the frame; if these do not
            suffice, the last newborns in the detector's order are left out, counted
            in `num_dropped` (since `reset`), and a warning is given once. 'keep':
            no trajectory loses its word while it is remembered; objects without a
            word are tracked by overlap and embedding until one is free.
        class_aware: A detection only continues a trajectory of its own class.

    Attributes:
        observer: Called at the end of each frame with what was decided in it; None
            calls nothing. It changes nothing that the tracker does.

    Raises:
        ValueError: If an argument is out of its range.
    """

    observer: FrameObserver | None = None

    def __init__(
        self,
        num_id_vocabulary: int = 50,
        miss_tolerance: int = 30,
        det_thr: float = 0.3,
        newborn_thr: float = 0.6,
        id_thr: float = 0.2,
        area_thr: float = 0.0,
        protocol: str = 'object-max',
        embed_dims: int = 256,
        overflow: str = 'drop',
        class_aware: bool = False,
    ) -> None:
        self.embed_dims = embed_dims
        self.memory = EmbeddingMemory(miss_tolerance - 1, num_id_vocabulary)
        super().__init__(
            num_id_vocabulary,
            miss_tolerance,
            det_thr,
            newborn_thr,
            id_thr,
            area_thr,
            protocol,
            overflow,
            class_aware,
        )

    def reset(self) -> None:
        """Start a new sequence: no trajectories, identities from 0."""
        super().reset()
        self.memory.clear()

    def history(self) -> TrajectoryHistory:
        """Return the live trajectories, on the device of the embeddings."""
        words = np.flatnonzero(self.live)
        arrays = self.missing[:, words], words
        masks, id_labels = to_device(
            [torch.from_numpy(array) for array in arrays], self.memory.device
        )
        return TrajectoryHistory(self.memory.read(id_labels), masks, id_labels)

    def detections(self, found: InstanceData) -> InstanceData:
        """Return bboxes, scores and labels of the detections that take part.

        Args:
            found: The ``pred_instances`` of a frame, as :meth:`track` takes them.

        Returns:
            The detections above `det_thr` and `area_thr`, in the detector's order.

        Raises:
            ValueError: If boxes or scores are not finite.
        """
        return as_instances(*self._select(found)[1:])

    @torch.no_grad()
    def track(
        self,
        data_sample: DetDataSample,
        score_identities: IdentityScorer,
        **_: object,
    ) -> InstanceData:
        """Track the next frame.

        Args:
            data_sample: ``frame_id`` (0 starts a sequence) and ``pred_instances``, on
                the CPU: ``bboxes`` (Q, 4) float32 xyxy in pixels, ``scores``,
                ``labels`` (Q,), optionally ``areas`` (Q,) float32 in square pixels;
                and ``embeddings`` (Q, C) on any device.
            score_identities: Scores of the words (n, K + 1), the last one newborn,
                from the live trajectories and the embeddings (n, C) of the detections
                above the thresholds; not called if there are none of either.
            **_: What other trackers ask for.

        Returns:
            The tracked objects in the detector's order, on the CPU: ``bboxes`` (n, 4),
            ``scores``, ``labels`` and ``instances_id`` (n,) int64, identities that are
            counted from 0 in a sequence and never used again.

        Raises:
            ValueError: If shapes do not fit, or boxes, scores or ID scores are not
                finite; the state is then as before the frame.
        """
        if data_sample.metainfo.get('frame_id') == 0:
            self.reset()
        found = data_sample.pred_instances
        if tuple(found.embeddings.shape) != (len(found), self.embed_dims):
            raise ValueError(
                f'embeddings: found shape {tuple(found.embeddings.shape)}, expected '
                f'{(len(found), self.embed_dims)}; tracker.embed_dims is '
                f'{self.embed_dims}'
            )
        which, bboxes, scores, labels = self._select(found)
        embeddings = _rows(found.embeddings, which)
        words = np.full(len(which), self.num_id_vocabulary)
        live, id_scores = self.live, None
        if len(which) and live.any():
            scored = score_identities(self.history(), embeddings)
            id_scores = scored.float().cpu().numpy()
            words = self.assign(id_scores, labels)
        owners = self.vocabulary.identities.copy()
        classes = self.vocabulary.classes.copy()
        named = self.name(
            words,
            bboxes,
            scores,
            labels,
            lambda rows: _rows(embeddings, rows).float().cpu().numpy(),
        )
        self.memory.forget(named.ended)
        given = np.flatnonzero(named.words < self.num_id_vocabulary)
        self.memory.append(named.words[given], _rows(embeddings, given))
        if self.observer is not None:
            self.observer(
                AssociatedFrame(which, id_scores, live, owners, classes, words, named)
            )
        kept = named.identities >= 0
        return as_instances(
            bboxes[kept],
            scores[kept],
            labels[kept],
            instances_id=named.identities[kept],
        )

    def _select(
        self, found: InstanceData
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Indices, boxes, scores and labels of the detections that take part."""
        columns = (found.bboxes, found.scores, found.labels)
        bboxes, scores, labels = (column.numpy() for column in columns)
        if 'areas' in found:
            areas = found.areas.numpy()
        else:
            areas = (bboxes[:, 2:] - bboxes[:, :2]).prod(1)
        which = self.select(bboxes, scores, areas)
        return which, bboxes[which], scores[which], labels[which]


def _index(places: np.ndarray, beside: Tensor) -> Tensor:
    return to_device([torch.from_numpy(places)], beside.device)[0]


def _rows(embeddings: Tensor, which: np.ndarray) -> Tensor:
    return embeddings.index_select(0, _index(which, embeddings))
