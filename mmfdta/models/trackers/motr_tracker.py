# Copyright (c) mmfdta authors.
"""Birth and death of MOTR's tracks: a matter of scores alone."""

from dataclasses import dataclass

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from .fdta_tracker import FrameTracks


@dataclass
class LivingTracks:
    """What a frame leaves behind.

    Attributes:
        tracks: What is reported of the frame.
        alive: int64 (n,), the queries that follow a track into the next frame, on
            the host, in the order of the frame.
    """

    tracks: FrameTracks
    alive: Tensor


@MODELS.register_module()
class MOTRTracker:
    """Keep the identities of track queries (arXiv 2105.03247, Sec. 3.5).

    A slot whose score reaches `newborn_thr` starts a track. A track whose score
    falls below `keep_thr` is missed; a score of `newborn_thr` forgives all misses,
    and one in between changes nothing. The track ends with the miss number
    `miss_tolerance`. No network is in here, and one transfer from the device is
    made a frame.

    Args:
        newborn_thr: Lowest score that starts a track.
        keep_thr: A track with a lower score is missed.
        miss_tolerance: Number of misses that end a track; at least 1.
        det_thr: Only tracks with a higher score are reported.
        area_thr: Only tracks with a larger area (pixels) are reported.

    Raises:
        ValueError: If `miss_tolerance` is out of its range.
    """

    def __init__(
        self,
        newborn_thr: float = 0.7,
        keep_thr: float = 0.6,
        miss_tolerance: int = 5,
        det_thr: float = 0.7,
        area_thr: float = 100.0,
    ) -> None:
        if miss_tolerance < 1:
            raise ValueError(
                f'tracker.miss_tolerance: found {miss_tolerance}, expected >= 1'
            )
        self.newborn_thr = newborn_thr
        self.keep_thr = keep_thr
        self.miss_tolerance = miss_tolerance
        self.det_thr = det_thr
        self.area_thr = area_thr
        self.reset()

    def reset(self) -> None:
        """Start a new sequence: no tracks, identities from 0."""
        self.ids = np.empty(0, np.int64)
        self.misses = np.empty(0, np.int64)
        self.num_ids = 0

    @torch.no_grad()
    def track(
        self, boxes: Tensor, scores: Tensor, labels: Tensor, image_size: tuple[int, int]
    ) -> LivingTracks:
        """Judge the queries of the next frame.

        Args:
            boxes: (Q, 4) cxcywh in 0..1 of the image; slots first, then the queries
                that were `alive` in the frame before, in that order.
            scores: (Q,).
            labels: (Q,) int64 classes.
            image_size: (height, width) in pixels of the image to give boxes for.

        Returns:
            The tracks, in the order of the queries.

        Raises:
            ValueError: If there are fewer queries than tracks, or boxes or scores
                are not finite; the state is then as before the frame.
        """
        boxes, score, label = self._to_host(boxes, scores, labels, image_size)
        ids, misses = self._live(score)
        alive = ids >= 0
        self.ids, self.misses = ids[alive], misses[alive]
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        confident = score > self.det_thr
        shown = alive & confident & (area > self.area_thr)
        reported = _instances(boxes, score, label, shown)
        tracks = FrameTracks(
            bboxes=reported.bboxes,
            scores=reported.scores,
            labels=reported.labels,
            ids=torch.from_numpy(ids[shown]),
            detections=_instances(boxes, score, label, confident),
        )
        return LivingTracks(tracks, torch.from_numpy(np.flatnonzero(alive)))

    def _to_host(
        self, boxes: Tensor, scores: Tensor, labels: Tensor, image_size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes as float32 xyxy in pixels, scores and labels."""
        if len(boxes) < len(self.ids):
            raise ValueError(
                f'{len(boxes)} queries: expected one for each of the {len(self.ids)} '
                'tracks of the frame before, after those of the slots'
            )
        table = torch.cat([boxes, scores[:, None]], dim=1).float()
        table = torch.cat([table, labels[:, None].to(table)], dim=1).cpu().numpy()
        if not np.isfinite(table).all():
            raise ValueError('boxes or scores of the detector are not finite')
        height, width = image_size
        scale = np.array([width, height, width, height], dtype=np.float32)
        centre, half = table[:, :2], 0.5 * table[:, 2:4]
        corners = np.concatenate([centre - half, centre + half], axis=1) * scale
        return corners, table[:, 4], table[:, 5].astype(np.int64)

    def _live(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Identities (Q,), -1 without a track, and misses (Q,) after the frame."""
        slots = len(scores) - len(self.ids)
        ids = np.concatenate([np.full(slots, -1), self.ids])
        misses = np.concatenate([np.zeros(slots, np.int64), self.misses])
        strong = scores >= self.newborn_thr
        misses[strong] = 0
        newborn = (ids < 0) & strong
        missed = (ids >= 0) & (scores < self.keep_thr)
        misses[missed] += 1
        ids[missed & (misses >= self.miss_tolerance)] = -1
        ids[newborn] = self.num_ids + np.arange(newborn.sum())
        self.num_ids += int(newborn.sum())
        return ids, misses


def _instances(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, which: np.ndarray
) -> InstanceData:
    return InstanceData(
        bboxes=torch.from_numpy(boxes[which]),
        scores=torch.from_numpy(scores[which]),
        labels=torch.from_numpy(labels[which]),
    )
