# Copyright (c) mmfdta authors.
"""A frame of a video and what was tracked in it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mmfdta.structures.tracks import Tracks
from mmfdta.visualization import TrackDrawer, TrackStyle
from mmfdta.visualization.drawing import to_detections

if TYPE_CHECKING:
    from supervision import Detections


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """One frame of a video and what was found in it.

    Attributes:
        index: Place of the frame in its source, from 0.
        image: uint8 (H, W, 3), BGR.
        tracks: What was found; its frame number is :attr:`number`.
        fps: Frames per second that are tracked at the moment.
        time: Seconds since the first frame, by the time stamps of the source; None
            where it has none.
        classes: Names of the classes, as far as they are known.
        style: How the run draws.
        earlier: Tracks of the frames before, oldest first, as many as trails need.
    """

    index: int
    image: np.ndarray = field(repr=False)
    tracks: Tracks
    fps: float = 0.0
    time: float | None = None
    classes: Sequence[str] = field(default=(), repr=False)
    style: TrackStyle = field(default_factory=TrackStyle, repr=False)
    earlier: Sequence[Tracks] = field(default=(), repr=False)

    @property
    def number(self) -> int:
        """Number of the frame in its source, from 1."""
        return self.index + 1

    @cached_property
    def detections(self) -> 'Detections':
        """The tracks as ``supervision.Detections``, in the order of :attr:`tracks`.

        ``xyxy`` in pixels, ``tracker_id``, ``confidence``, ``class_id`` (-1 where none
        is known) and ``data['class_name']``.
        """
        return to_detections(self.tracks, self.classes)

    def draw(self, style: TrackStyle | None = None) -> np.ndarray:
        """Draw the tracks, with trails, on a copy of the image.

        Args:
            style: How they are drawn; None: as the run draws.

        Returns:
            uint8 (H, W, 3), BGR.
        """
        drawer = TrackDrawer(style or self.style, self.classes, channel_order='bgr')
        for tracks in self.earlier:
            drawer.remember(tracks)
        return drawer.draw(self.image, self.tracks)
