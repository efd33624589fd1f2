# Copyright (c) mmfdta authors.
"""MOTR's tracker, which starts and ends tracks by their scores."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from .assignment import check_finite
from .fdta_tracker import as_arrays, as_instances


@MODELS.register_module()
class MOTRTracker:
    """Keep the identities of track queries (arXiv 2105.03247, Sec. 3.5).

    A detect query whose score reaches `newborn_thr` starts a track. A track whose score
    falls below `keep_thr` has a miss; a score of `newborn_thr` or more resets its
    misses, and one in between changes nothing. The track ends at `miss_tolerance`
    misses.

    The object is the state of one video, including its track queries. It contains no
    network and copies nothing from the device.

    Args:
        newborn_thr: Lowest score that starts a track.
        keep_thr: A track with a lower score has a miss.
        miss_tolerance: Number of misses that end a track; at least 1.
        det_thr: Only tracks with a higher score are reported.
        area_thr: Only tracks with a larger area (square pixels) are reported.

    Attributes:
        ids: (n,) int64 identities of the tracks.
        misses: (n,) int64 misses of each since its score last reached `newborn_thr`.
        queries: The model's track queries of the n tracks for the next frame; None
            before the first frame.

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
        self.queries: Any = None

    def detections(self, found: InstanceData) -> InstanceData:
        """Return bboxes, scores and labels of the queries above `det_thr`.

        Args:
            found: The ``pred_instances`` of a frame, as :meth:`track` takes them.
        """
        boxes, scores, labels = as_arrays(found)
        confident = scores > self.det_thr
        return as_instances(boxes[confident], scores[confident], labels[confident])

    @torch.no_grad()
    def track(
        self,
        data_sample: DetDataSample,
        renew_queries: Callable[[Tensor], Any],
        **_: object,
    ) -> InstanceData:
        """Track the next frame.

        Args:
            data_sample: ``frame_id`` (0 starts a sequence) and ``pred_instances`` on
                the CPU, one per query: ``bboxes`` (Q, 4) float32 xyxy in pixels,
                ``scores``, ``labels`` (Q,); detect queries first, then the tracks of
                the frame before in their order.
            renew_queries: Returns the track queries of the next frame, given the
                indices (n,) int64, on the CPU, of the queries that hold a track.
            **_: Arguments of other trackers.

        Returns:
            The tracks in the order of the queries, on the CPU: ``bboxes`` (n, 4),
            ``scores``, ``labels`` and ``instances_id`` (n,) int64.

        Raises:
            ValueError: If there are fewer queries than tracks, or boxes or scores
                are not finite; the state is then as before the frame.
        """
        if data_sample.metainfo.get('frame_id') == 0:
            self.reset()
        boxes, scores, labels = as_arrays(data_sample.pred_instances)
        if len(boxes) < len(self.ids):
            raise ValueError(
                f'{len(boxes)} queries: expected one for each of the {len(self.ids)} '
                'tracks of the frame before, after the detect queries'
            )
        check_finite(
            np.column_stack([boxes, scores]),
            'boxes or scores',
            data_sample.metainfo.get('frame_id', -1),
        )
        ids, misses = self._live(scores)
        alive = ids >= 0
        self.ids, self.misses = ids[alive], misses[alive]
        self.queries = renew_queries(torch.from_numpy(np.flatnonzero(alive)))
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        shown = alive & (scores > self.det_thr) & (area > self.area_thr)
        return as_instances(
            boxes[shown], scores[shown], labels[shown], instances_id=ids[shown]
        )

    def _live(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return identities (Q,), -1 without a track, and misses (Q,) after the frame.

        Counts the new identities.
        """
        num_detect = len(scores) - len(self.ids)
        ids = np.concatenate([np.full(num_detect, -1), self.ids])
        misses = np.concatenate([np.zeros(num_detect, np.int64), self.misses])
        strong = scores >= self.newborn_thr
        misses[strong] = 0
        newborn = (ids < 0) & strong
        missed = (ids >= 0) & (scores < self.keep_thr)
        misses[missed] += 1
        ids[missed & (misses >= self.miss_tolerance)] = -1
        ids[newborn] = self.num_ids + np.arange(newborn.sum())
        self.num_ids += int(newborn.sum())
        return ids, misses
