# Copyright (c) mmfdta authors.
"""A frame of a video and what was tracked and counted in it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mmfdta.structures.tracks import Tracks
from mmfdta.visualization import TrackDrawer, TrackStyle
from mmfdta.visualization.areas import draw_line, draw_name, draw_table, draw_zone
from mmfdta.visualization.drawing import to_detections

from .counting import Counts

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
        counts: What a counter has counted up to this frame.
    """

    index: int
    image: np.ndarray = field(repr=False)
    tracks: Tracks
    fps: float = 0.0
    time: float | None = None
    classes: Sequence[str] = field(default=(), repr=False)
    style: TrackStyle = field(default_factory=TrackStyle, repr=False)
    earlier: Sequence[Tracks] = field(default=(), repr=False)
    counts: Counts | None = field(default=None, repr=False)

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
        return self.draw_with(drawer)

    def draw_with(self, drawer: TrackDrawer) -> np.ndarray:
        """Draw the tracks and counts on a copy of the image.

        Args:
            drawer: What has drawn the frames before.

        Returns:
            uint8 (H, W, 3), BGR.
        """
        if self.counts is None:
            return drawer.draw(self.image, self.tracks)
        counts, style = self.counts, drawer.style
        height, width = self.image.shape[:2]
        image = self.image.copy()
        for zone in counts.zones:
            rings = zone.resolve(width, height)
            draw_zone(image, rings, style)
            corners = np.concatenate(rings)
            draw_name(image, zone.name, corners[corners[:, 1].argmin()], style)
        for line in counts.lines:
            ends = line.resolve(width, height)
            draw_line(image, ends, style)
            draw_name(image, line.name, ends[0], style)
        image = drawer.draw(image, self.tracks)
        draw_table(image, counts.describe_all(), style)
        return image
