# Copyright (c) mmfdta authors.
"""Any tracker, with identities that survive absence."""

from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmfdta.utils.instances import take_rows
from mmfdta.utils.transfers import to_host

from .gallery import (
    LEARNED_THRESHOLD,
    IdentityGallery,
    embeddings_of_tracks,
    rows_of_tracks,
)


@MODELS.register_module()
class GalleryTracker:
    """A tracker whose objects keep their identities when they return.

    All attributes except :meth:`track` and :meth:`reset` are the inner tracker's:
    thresholds, ``detections``, ``needs_frames``. Each frame costs one copy of the
    tracks' embeddings from the device.

    Args:
        tracker: Config of any tracker, or a tracker.
        threshold: See :class:`IdentityGallery`; 0.88 suits `PooledEmbeddings`. None
            leaves the tracker's identities unchanged.
        min_quality: See :class:`IdentityGallery`.
        max_identities: See :class:`IdentityGallery`.
        across_videos: Remember identities from one video to the next; otherwise each
            video counts from 0.
        keep_embeddings: Give the tracks ``embeddings`` (n, C) float32, on the CPU; NaN
            in rows of tracks without a detection.

    Attributes:
        gallery: The remembered identities; None without a threshold.

    Raises:
        ValueError: If an argument is out of its range.
    """

    gallery: IdentityGallery | None

    def __init__(
        self,
        tracker: Any,
        threshold: float | None = LEARNED_THRESHOLD,
        min_quality: float = 0.3,
        max_identities: int = 1000,
        across_videos: bool = False,
        keep_embeddings: bool = False,
    ) -> None:
        is_config = isinstance(tracker, dict)
        self.tracker = MODELS.build(tracker) if is_config else tracker
        self.across_videos = across_videos
        self.keep_embeddings = keep_embeddings
        self.gallery = None
        if threshold is not None:
            self.gallery = IdentityGallery(threshold, min_quality, max_identities)

    @classmethod
    def around(
        cls,
        tracker: Any,
        gallery: IdentityGallery | None = None,
        keep_embeddings: bool = False,
    ) -> 'GalleryTracker':
        """Put a gallery around a tracker.

        Args:
            tracker: Any tracker; another :class:`GalleryTracker` is replaced.
            gallery: Identities that are remembered from video to video; None remembers
                none.
            keep_embeddings: See the class.
        """
        inner = tracker.tracker if isinstance(tracker, cls) else tracker
        wrapped = cls(inner, None, across_videos=True, keep_embeddings=keep_embeddings)
        wrapped.gallery = gallery
        return wrapped

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the inner tracker."""
        if name.startswith('__') or 'tracker' not in vars(self):
            raise AttributeError(name)  # during a copy, before there is a tracker
        return getattr(self.tracker, name)

    def reset(self) -> None:
        """Start a new video; forget all identities, or none if `across_videos`."""
        self.tracker.reset()
        self._start_video()

    def _start_video(self) -> None:
        if self.gallery is None:
            return
        if self.across_videos:
            self.gallery.start_video()
        else:
            self.gallery.clear()

    @torch.no_grad()
    def track(self, data_sample: DetDataSample, **context: Any) -> InstanceData:
        """Track the next frame.

        Args:
            data_sample: As for the inner tracker; ``pred_instances`` have
                ``embeddings`` (m, C), on any device.
            **context: Further arguments of the inner tracker.

        Returns:
            The tracker's tracks, on the CPU, with lasting numbers as ``instances_id``.

        Raises:
            ValueError: If the detections have no embeddings, or those of another model.
        """
        found = data_sample.pred_instances
        if 'embeddings' not in found:
            raise ValueError(
                f'{"keep_embeddings" if self.gallery is None else "gallery"}: the '
                'detections have no embeddings, which are needed to recognise '
                'identities; use FDTA, or set model.embeddings.type=PooledEmbeddings '
                'of a TrackingByDetection'
            )
        if data_sample.metainfo.get('frame_id') == 0:
            self._start_video()
        tracks = self.tracker.track(data_sample=data_sample, **context)
        boxes, labels = tracks.bboxes.numpy(), tracks.labels.numpy()
        rows = rows_of_tracks(boxes, labels, found.bboxes.numpy(), found.labels.numpy())
        # Only the rows that are used leave the device.
        known = np.flatnonzero(rows >= 0)
        chosen = take_rows(
            InstanceData(embeddings=found.embeddings), torch.from_numpy(rows[known])
        )
        places = np.full(len(rows), -1)
        places[known] = np.arange(len(known))
        embeddings = embeddings_of_tracks(
            to_host(chosen.embeddings).float().numpy(), places
        )
        if self.gallery is not None:
            numbers = self.gallery.update(
                tracks.instances_id.numpy(),
                boxes,
                tracks.scores.numpy(),
                labels,
                embeddings,
            )
            tracks.instances_id = torch.from_numpy(numbers)
        if self.keep_embeddings:
            tracks.embeddings = torch.from_numpy(embeddings)
        return tracks
