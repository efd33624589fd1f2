# Copyright (c) mmfdta authors.
"""A small tracker that matches by overlap and by the similarity of embeddings.

docs/add_a_tracker.md explains it, and `mmfdta new-tracker` starts yours from it.
"""

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from mmfdta.models.trackers.given_embeddings import given_embeddings
from mmfdta.utils.instances import take_rows


@MODELS.register_module()
class IoUEmbeddingTracker:
    """Gives a detection the identity of the most similar track.

    The score of a pair is ``weight`` times its IoU plus ``1 - weight`` times the cosine
    similarity of its embeddings. The assignment with the highest sum is chosen. There
    is no motion model.

    Args:
        score_thr: Only detections with a higher score are tracked.
        newborn_thr: Only detections with a higher score start a track.
        match_thr: Only pairs with a higher score are matched.
        weight: Weight of the IoU, 0 to 1.
        momentum: Weight of the old embedding when a track is found again, 0 to 1.
        miss_tolerance: Most frames without a detection before a track is forgotten.
    """

    def __init__(
        self,
        score_thr: float = 0.3,
        newborn_thr: float = 0.5,
        match_thr: float = 0.5,
        weight: float = 0.5,
        momentum: float = 0.8,
        miss_tolerance: int = 15,
    ) -> None:
        self.score_thr = score_thr
        self.newborn_thr = newborn_thr
        self.match_thr = match_thr
        self.weight = weight
        self.momentum = momentum
        self.miss_tolerance = miss_tolerance
        self.reset()

    def reset(self) -> None:
        """Start a new video and forget all tracks."""
        self._next_id = 0
        self._tracks: InstanceData | None = None

    def track(self, data_sample: DetDataSample, **_: object) -> InstanceData:
        """Track the next frame.

        Args:
            data_sample: ``frame_id`` (0 starts a video) and ``pred_instances``, on the
                CPU: ``bboxes`` (n, 4) xyxy in pixels, ``scores``, ``labels`` (n,); and
                ``embeddings`` (n, C), which may be on another device.
            **_: Arguments of other trackers.

        Returns:
            On the CPU: ``bboxes``, ``scores``, ``labels`` and ``instances_id`` int64
            (m,) of the objects that have an identity.

        Raises:
            ValueError: If detections have no embeddings, or some are not finite.
        """
        frame = data_sample.frame_id
        if frame == 0:
            self.reset()
        found = data_sample.pred_instances
        found = take_rows(found, found.scores > self.score_thr)
        found.instances_id = torch.full_like(found.labels, -1)
        found.frames = torch.full_like(found.labels, frame)
        looks = given_embeddings(found, self, frame)
        found.embeddings = functional.normalize(looks, dim=-1)
        if self._tracks is not None:
            self._take_identities(self._tracks, found)
        newborn = (found.instances_id < 0) & (found.scores > self.newborn_thr)
        count = int(newborn.sum())
        found.instances_id[newborn] = self._next_id + torch.arange(count)
        self._next_id += count
        found = found[found.instances_id >= 0]
        self._remember(found, frame)
        names = ('bboxes', 'scores', 'labels', 'instances_id')
        return InstanceData(**{name: found.get(name) for name in names})

    def _take_identities(self, tracks: InstanceData, found: InstanceData) -> None:
        """Match with the tracks; update identity and embedding of the matched."""
        scores = self._score_pairs(tracks, found)
        rows, columns = linear_sum_assignment(scores, maximize=True)
        kept = (scores[rows, columns] > self.match_thr).numpy()
        rows, columns = rows[kept], columns[kept]
        found.instances_id[columns] = tracks.instances_id[rows]
        found.embeddings[columns] = functional.normalize(
            self.momentum * tracks.embeddings[rows]
            + (1 - self.momentum) * found.embeddings[columns],
            dim=-1,
        )

    def _score_pairs(self, tracks: InstanceData, found: InstanceData) -> Tensor:
        """Score pairs (N, n) of tracks and detections; other classes never match."""
        iou = bbox_overlaps(tracks.bboxes, found.bboxes)
        cosine = tracks.embeddings @ found.embeddings.T
        scores = self.weight * iou + (1 - self.weight) * cosine
        return scores.masked_fill(tracks.labels[:, None] != found.labels, -1.0)

    def _remember(self, found: InstanceData, frame: int) -> None:
        """Keep the tracks that were found, and the lost ones that are recent enough."""
        if self._tracks is not None:
            old = self._tracks
            lost = ~torch.isin(old.instances_id, found.instances_id)
            lost &= frame - old.frames <= self.miss_tolerance
            found = InstanceData.cat([old[lost], found])
        self._tracks = found
