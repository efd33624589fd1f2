# Copyright (c) mmfdta authors.
"""Bounds the memory of MMDetection's trackers, which keep all frames of a track."""

from typing import Any


def forget_history(tracker: Any) -> None:
    """Remove what a tracker of MMDetection has stored of its tracks and never reads.

    It appends box, score, class and embedding of every frame to lists, and reads only
    the last ones. Call this after each frame; the tracks stay the same.

    Args:
        tracker: A ``ByteTracker``, ``OCSORTTracker`` or ``SORTTracker``, or one that
            reads no more of its tracks than these; changed in place.
    """
    reid = getattr(tracker, 'reid', None) or {}
    # A tentative track counts its boxes, and OC-SORT looks back `vel_delta_t` frames.
    most = dict(
        embeds=reid.get('num_samples') or 1,
        obs=getattr(tracker, 'vel_delta_t', 0) + 1,
    )
    for track in tracker.tracks.values():
        for name, values in track.items():
            # OC-SORT's `obs` end with None while a track is lost. It then counts these,
            # and reads the box before them.
            if isinstance(values, list) and values[-1] is not None:
                del values[: -most.get(name, max(tracker.num_tentatives, 1))]
