# Copyright (c) mmfdta authors.
"""FDTA's tracker: the state machine of `assignment` on tensors and InstanceData."""

from collections.abc import Sequence

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from mmfdta.utils.transfers import to_device

from .assignment import IdentityAssignment, IdentityScorer
from .embedding_memory import EmbeddingWindow


class EmbeddingMemory(EmbeddingWindow[Tensor]):
    """An :class:`EmbeddingWindow` of tensors, on the device of the embeddings."""

    @property
    def device(self) -> torch.device:
        """Device of the embeddings; the CPU before the first frame."""
        return torch.device('cpu') if self._buffer is None else self._buffer.device

    def bring(self, arrays: Sequence[np.ndarray]) -> list[Tensor]:
        """Copy host arrays to the device of the embeddings, all at once."""
        return to_device([torch.from_numpy(array) for array in arrays], self.device)

    def rows(self, embeddings: Tensor, which: np.ndarray) -> Tensor:
        """Return the embeddings (m, C) at the indices ``which`` (m,) int64."""
        (index,) = to_device([torch.from_numpy(which)], embeddings.device)
        return embeddings.index_select(0, index)

    def on_host(self, array: Tensor) -> np.ndarray:
        """Return the same numbers as float32 on the CPU; waits for the device."""
        return array.float().cpu().numpy()

    def _zeros(self, shape: tuple[int, int], like: Tensor) -> Tensor:
        return like.new_zeros((*shape, like.shape[-1]))

    def _write(self, row: Tensor, words: np.ndarray, embeddings: Tensor) -> None:
        (index,) = self.bring([words])
        row.zero_().index_copy_(0, index, embeddings.to(row))

    def _empty(self, window: Tensor, words: np.ndarray) -> None:
        (index,) = self.bring([words])
        window.index_fill_(1, index, 0)

    def _columns(self, window: Tensor, words: Tensor) -> Tensor:
        return window.index_select(1, words)


def as_arrays(found: InstanceData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes, scores and labels of instances on the CPU."""
    return found.bboxes.numpy(), found.scores.numpy(), found.labels.numpy()


def as_instances(
    bboxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, **columns: np.ndarray
) -> InstanceData:
    """Make instances on the CPU from arrays of one length."""
    columns = dict(bboxes=bboxes, scores=scores, labels=labels, **columns)
    return InstanceData(**{k: torch.from_numpy(v) for k, v in columns.items()})


@MODELS.register_module()
class FDTATracker(IdentityAssignment[Tensor]):
    """Online association with a vocabulary of ID words (paper, Sec. 3.1).

    A detection takes the word of a live trajectory if its ID scores choose that word.
    Otherwise it is newborn, and kept if its score is high enough. A newborn gets a new
    identity and the least recently used word; if that word's trajectory was still
    remembered, it ends. A trajectory ends after `miss_tolerance - 1` frames without a
    detection.

    The object is the state of one video and contains no network. `track` takes
    detections and a function that scores words, and makes one copy from the device
    per frame, of the ID scores.

    Args:
        num_id_vocabulary: K, number of ID words; inside FDTA the model's.
        miss_tolerance: One more than the number of frames that are remembered; at least
            2; inside FDTA the model's `window` by default.
        det_thr: Only detections with a higher score are tracked.
        newborn_thr: Only detections with a higher score start a trajectory.
        id_thr: Lowest ID score that continues a trajectory; at least 0.
        area_thr: Only detections with a larger area (square pixels) are tracked.
        protocol: 'object-max', 'hungarian' or 'id-max', see `assignment`.
        embed_dims: C, channels of the embeddings; inside FDTA the model's.
        overflow: Behaviour with more objects than words. 'drop': newborns may take the
            words of trajectories that are not seen in the frame. If there are not
            enough, the last newborns in the detector's order are left out and counted
            in `num_dropped` (since `reset`), and the first time there is a warning.
            'keep': no trajectory loses its word while it is remembered; objects without
            a word are tracked by overlap and embedding until one is free.
        class_aware: A detection only continues a trajectory of the same class.

    Raises:
        ValueError: If an argument is out of its range.
    """

    memory_class = EmbeddingMemory

    def detections(self, found: InstanceData) -> InstanceData:
        """Return bboxes, scores and labels of the detections that are tracked.

        Args:
            found: The ``pred_instances`` of a frame, as :meth:`track` takes them.

        Returns:
            The detections above `det_thr` and `area_thr`, in the detector's order.

        Raises:
            ValueError: If boxes or scores are not finite.
        """
        columns = as_arrays(found)
        rows = self.select(*columns[:2], _areas(found))
        return as_instances(*(column[rows] for column in columns))

    @torch.no_grad()
    def track(
        self,
        data_sample: DetDataSample,
        score_identities: IdentityScorer[Tensor],
        **_: object,
    ) -> InstanceData:
        """Track the next frame.

        Args:
            data_sample: ``frame_id`` (0 starts a sequence) and ``pred_instances``, on
                the CPU: ``bboxes`` (Q, 4) float32 xyxy in pixels, ``scores``,
                ``labels`` (Q,), optionally ``areas`` (Q,) float32 in square pixels;
                and ``embeddings`` (Q, C) on any device.
            score_identities: Returns scores of the words (n, K + 1), the last one
                newborn, for the live trajectories and the embeddings (n, C) of the
                detections above the thresholds; not called if either is empty.
            **_: Arguments of other trackers.

        Returns:
            The tracked objects in the detector's order, on the CPU: ``bboxes`` (n, 4),
            ``scores``, ``labels`` and ``instances_id`` (n,) int64, identities that are
            counted from 0 in a sequence and never reused.

        Raises:
            ValueError: If shapes do not fit, or boxes, scores or ID scores are not
                finite; the state is then as before the frame.
        """
        if data_sample.metainfo.get('frame_id') == 0:
            self.reset()
        found = data_sample.pred_instances
        columns = as_arrays(found)
        rows, identities = self.associate(
            *columns, found.embeddings, score_identities, _areas(found)
        )
        return as_instances(
            *(column[rows] for column in columns), instances_id=identities
        )


def _areas(found: InstanceData) -> np.ndarray | None:
    return found.areas.numpy() if 'areas' in found else None
