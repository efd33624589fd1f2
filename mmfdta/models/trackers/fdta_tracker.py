# Copyright (c) mmfdta authors.
"""FDTA's tracker: who gets which identity, from frame to frame."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from .assignment import PROTOCOLS
from .history import HistoryBuffer, TrajectoryHistory
from .spare_tracks import SpareTracks
from .vocabulary import IDVocabulary

IDScorer = Callable[[TrajectoryHistory, Tensor], Tensor]


@dataclass
class FrameTracks:
    """What was tracked in a frame, on the CPU, in the detector's order.

    Attributes:
        bboxes: (n, 4) float32 xyxy in pixels, not clipped.
        scores: (n,) float32.
        labels: (n,) int64 classes.
        ids: (n,) int64 identities, counted from 0 in a sequence, never used again.
        detections: bboxes, scores and labels of all detections above `det_thr`.
    """

    bboxes: Tensor
    scores: Tensor
    labels: Tensor
    ids: Tensor
    detections: InstanceData

    def write_to(self, frame: DetDataSample) -> None:
        """Set ``pred_det_instances`` and ``pred_track_instances`` of a frame."""
        frame.pred_det_instances = self.detections
        frame.pred_track_instances = InstanceData(
            bboxes=self.bboxes,
            scores=self.scores,
            labels=self.labels,
            instances_id=self.ids,
        )


@dataclass
class _Detections:
    """Detections of a frame above the thresholds; arrays but for the embeddings."""

    bboxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    embeddings: Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def instances(self, which: slice | np.ndarray) -> InstanceData:
        return InstanceData(
            bboxes=torch.from_numpy(self.bboxes[which]),
            scores=torch.from_numpy(self.scores[which]),
            labels=torch.from_numpy(self.labels[which]),
        )


@MODELS.register_module()
class FDTATracker:
    """Online association with a vocabulary of ID words (paper, Sec. 3.1).

    A detection takes the word of a live trajectory if the ID scores say so; else it
    is newborn, and kept if its score is high enough. A newborn gets a new identity
    and the least recently used word; if that word's trajectory was still remembered,
    it ends. A trajectory ends after `miss_tolerance - 1` frames without a detection.

    No network is in here: `track` takes arrays and a function that scores words. Two
    transfers from the device are made a frame: the detections, and the ID scores.

    Args:
        num_id_vocabulary: K, number of ID words.
        miss_tolerance: One more than the frames that are remembered; at least 2.
        det_thr: Only detections with a higher score take part.
        newborn_thr: Only detections with a higher score start a trajectory.
        id_thr: Lowest ID score that continues a trajectory.
        area_thr: Only detections with a larger area (pixels) take part.
        protocol: 'object-max', 'hungarian' or 'id-max', see `assignment`.
        embed_dims: C, channels of the embeddings.
        overflow: What happens with more objects than words. 'drop': newborns may take
            the words of trajectories that are not seen in the frame; if these do not
            suffice, the last newborns in the detector's order are left out, counted
            in `num_dropped` (since `reset`), and a warning is given once. 'keep':
            no trajectory loses its word while it is remembered; objects without a
            word are tracked by overlap and embedding until one is free.
        class_aware: A detection only continues a trajectory of its own class.

    Raises:
        ValueError: If an argument is out of its range.
    """

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
        for name, value, fits, expected in (
            ('num_id_vocabulary', num_id_vocabulary, num_id_vocabulary >= 1, '>= 1'),
            ('miss_tolerance', miss_tolerance, miss_tolerance >= 2, '>= 2'),
            ('id_thr', id_thr, id_thr >= 0, '>= 0'),
            ('protocol', protocol, protocol in PROTOCOLS, f'one of {list(PROTOCOLS)}'),
            ('overflow', overflow, overflow in ('drop', 'keep'), "'drop' or 'keep'"),
        ):
            if not fits:
                raise ValueError(
                    f'tracker.{name}: found {value!r}, expected {expected}'
                )
        self.num_id_vocabulary = num_id_vocabulary
        self.miss_tolerance = miss_tolerance
        self.det_thr = det_thr
        self.newborn_thr = newborn_thr
        self.id_thr = id_thr
        self.area_thr = area_thr
        self.protocol = protocol
        self.embed_dims = embed_dims
        self.overflow = overflow
        self.class_aware = class_aware
        self.vocabulary = IDVocabulary(num_id_vocabulary)
        self.history = HistoryBuffer(self.max_history, num_id_vocabulary, embed_dims)
        self.spare = SpareTracks(self.max_history, embed_dims)
        self._has_warned = False
        self.reset()

    @property
    def max_history(self) -> int:
        """Most frames of history an ID scorer is given."""
        return self.miss_tolerance - 1

    def reset(self) -> None:
        """Start a new sequence: no trajectories, identities from 0."""
        self.vocabulary.clear()
        self.history.clear()
        self.spare.clear()
        self.num_frames = 0
        self.num_dropped = 0

    @torch.no_grad()
    def track(
        self,
        boxes: Tensor,
        scores: Tensor,
        labels: Tensor,
        embeddings: Tensor,
        image_size: tuple[int, int],
        id_scorer: IDScorer,
    ) -> FrameTracks:
        """Track the next frame.

        Args:
            boxes: (Q, 4) cxcywh in 0..1 of the image.
            scores: (Q,) of the detector.
            labels: (Q,) int64 classes.
            embeddings: (Q, C) of the detector.
            image_size: (height, width) in pixels of the image to give boxes for.
            id_scorer: Scores of the words (n, K + 1), the last one newborn, from the
                live trajectories and the embeddings (n, C) of the detections above
                the thresholds; not called if there are none of either.

        Returns:
            The tracked objects.

        Raises:
            ValueError: If shapes do not fit, or boxes, scores or ID scores are not
                finite; the state is then as before the frame.
        """
        dets = self._select(boxes, scores, labels, embeddings, image_size)
        words = self._assign(dets, id_scorer)
        ids = self._name(dets, words)
        self.num_frames += 1
        kept = np.flatnonzero(ids >= 0)
        tracks = dets.instances(kept)
        return FrameTracks(
            bboxes=tracks.bboxes,
            scores=tracks.scores,
            labels=tracks.labels,
            ids=torch.from_numpy(ids[kept]),
            detections=dets.instances(slice(None)),
        )

    def _select(
        self,
        boxes: Tensor,
        scores: Tensor,
        labels: Tensor,
        embeddings: Tensor,
        image_size: tuple[int, int],
    ) -> _Detections:
        """Detections above the thresholds, boxes as xyxy in pixels."""
        number = len(boxes)
        expected = ((number, 4), (number,), (number,), (number, self.embed_dims))
        found = tuple(tuple(x.shape) for x in (boxes, scores, labels, embeddings))
        if found != expected:
            raise ValueError(
                f'boxes, scores, labels and embeddings: found shapes {found}, expected '
                f'{expected}; tracker.embed_dims is {self.embed_dims}'
            )
        numbers = torch.cat([boxes, scores[:, None]], dim=1).float()
        table = torch.cat([numbers, labels[:, None].to(numbers)], dim=1).cpu().numpy()
        self._check_finite(table, 'boxes or scores')

        height, width = image_size
        scale = np.array([width, height, width, height], dtype=np.float32)
        score, label = table[:, 4], table[:, 5].astype(np.int64)
        area = table[:, 2] * scale[0] * table[:, 3] * scale[1]
        active = np.flatnonzero((score > self.det_thr) & (area > self.area_thr))
        centre, half = table[active, :2], 0.5 * table[active, 2:4]
        bboxes = np.concatenate([centre - half, centre + half], axis=1) * scale
        index = torch.from_numpy(active).to(embeddings.device, non_blocking=True)
        return _Detections(
            bboxes, score[active], label[active], embeddings.index_select(0, index)
        )

    def _assign(self, dets: _Detections, id_scorer: IDScorer) -> np.ndarray:
        """Words (n,) by the ID scores, K for newborn."""
        live = self.history.live
        shape = (len(dets), self.num_id_vocabulary + 1)
        if not len(dets) or not live.any():
            return np.full(len(dets), self.num_id_vocabulary)
        scores = id_scorer(self.history.read(), dets.embeddings)
        if tuple(scores.shape) != shape:
            raise ValueError(
                f'ID scores: found shape {tuple(scores.shape)}, expected {shape}: one '
                'row a detection, one column a word and one for newborn; '
                f'tracker.num_id_vocabulary is {self.num_id_vocabulary}'
            )
        scores = scores.float().cpu().numpy()
        self._check_finite(scores, 'ID scores')
        if self.class_aware:
            other = dets.labels[:, None] != self.vocabulary.classes
            scores = scores.copy()
            scores[:, :-1][other] = -1  # below any threshold
        return PROTOCOLS[self.protocol](scores, live, self.id_thr)

    def _name(self, dets: _Detections, words: np.ndarray) -> np.ndarray:
        """Identities (n,), -1 for detections that are left out; updates the state."""
        known = words < self.num_id_vocabulary
        ids = np.full(len(dets), -1, dtype=np.int64)
        ids[known] = self.vocabulary.identities[words[known]]
        self.vocabulary.touch(words[known])

        # Who wants a word: spare tracks, the oldest first, then newborns in order.
        others = np.flatnonzero(~known)
        ids[others] = self._match_spare(dets, others)
        spare = others[ids[others] >= 0]
        spare = spare[np.argsort(ids[spare])]
        newborn = others[(ids[others] < 0) & (dets.scores[others] > self.newborn_thr)]
        wanting = np.concatenate([spare, newborn])
        in_use = known if self.overflow == 'drop' else self.history.live
        num_free = self.num_id_vocabulary - int(in_use.sum())
        lucky, rest = wanting[:num_free], wanting[num_free:]
        if self.overflow == 'drop':
            self._drop(len(rest))
            newborn, rest = newborn[:num_free], rest[:0]
        ids[newborn] = self.vocabulary.new_identities(len(newborn))

        words = words.copy()
        words[lucky] = self.vocabulary.lend(ids[lucky], dets.labels[lucky])
        self.history.forget(words[lucky])
        named = np.flatnonzero(words < self.num_id_vocabulary)
        self.vocabulary.touch(words[named])
        self.history.append(words[named], _rows(dets.embeddings, named))
        if len(self.spare) or len(rest):
            self.spare.update(
                ids[rest],
                dets.bboxes[rest],
                _rows(dets.embeddings, rest).float().cpu().numpy(),
                dets.labels[rest],
                promoted=ids[lucky],
            )
        return ids

    def _match_spare(self, dets: _Detections, others: np.ndarray) -> np.ndarray:
        """Identities of spare tracks among detections without a word, else -1."""
        if not len(self.spare):
            return np.full(len(others), -1, dtype=np.int64)
        return self.spare.match(
            dets.bboxes[others],
            _rows(dets.embeddings, others).float().cpu().numpy(),
            dets.labels[others] if self.class_aware else None,
        )

    def _drop(self, number: int) -> None:
        """Count newborns for which there is no word; warn once."""
        self.num_dropped += number
        if number and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f'frame {self.num_frames} of the sequence has {number} newborn objects '
                f'more than ID words are free (num_id_vocabulary = '
                f'{self.num_id_vocabulary}); they are left out and counted in '
                "num_dropped. Set tracker.overflow='keep' to track them without a "
                'word. This warning is given once.',
                stacklevel=4,
            )

    def _check_finite(self, table: np.ndarray, what: str) -> None:
        bad = np.flatnonzero(~np.isfinite(table).all(1))
        if len(bad):
            raise ValueError(
                f'{what}: found NaN or infinity for {len(bad)} of {len(table)} '
                f'detections in frame {self.num_frames} of the sequence (the first is '
                f'number {bad[0]}), expected finite numbers; the weights or the image '
                'are broken'
            )


def _rows(embeddings: Tensor, which: np.ndarray) -> Tensor:
    index = torch.from_numpy(which).to(embeddings.device, non_blocking=True)
    return embeddings.index_select(0, index)
