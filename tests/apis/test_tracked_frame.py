# Copyright (c) mmfdta authors.
"""Frames of a video as their user gets them."""

import numpy as np
import pytest

from mmfdta.apis import TrackedFrame
from mmfdta.structures import Tracks
from mmfdta.visualization import TrackDrawer, TrackStyle


def _tracks(number, **more):
    boxes = [[10 + 3 * number, 20, 20, 30], [170 - 2 * number, 10, 15, 40]]
    return Tracks.create([number] * 2, [4, 9], boxes, **more)


def test_detections_hold_what_the_tracks_hold():
    supervision = pytest.importorskip('supervision')
    tracks = _tracks(3, score=[0.5, 0.75], label=[1, -1])
    image = np.zeros((80, 200, 3), np.uint8)
    frame = TrackedFrame(2, image, tracks, classes=('person', 'car'))
    found = frame.detections
    assert frame.number == 3
    assert isinstance(found, supervision.Detections)
    np.testing.assert_array_equal(found.xyxy, [[19, 20, 39, 50], [164, 10, 179, 50]])
    assert found.tracker_id.tolist() == [4, 9]
    assert found.confidence.tolist() == [0.5, 0.75]
    assert found.class_id.tolist() == [1, -1]
    assert found['class_name'].tolist() == ['car', 'class -1']
    # They are the user's own: what is changed there does not reach the tracks.
    found.xyxy[:] = 0
    found.class_id[:] = 7
    assert tracks.label.tolist() == [1, -1]
    assert frame.detections is found
    empty = TrackedFrame(0, image, Tracks.empty()).detections
    assert len(empty) == 0
    assert empty.tracker_id is not None


def test_a_frame_is_drawn_as_the_run_draws_it():
    """A drawer that saw all frames is the oracle of the one that sees the last."""
    style = TrackStyle(trail_length=3, show_classes=True)
    drawer = TrackDrawer(style, ('person',), channel_order='bgr')
    image = np.full((80, 200, 3), 90, np.uint8)
    seen = []
    for number in range(1, 8):
        tracks = _tracks(number, label=[0, 0])
        expected = drawer.draw(image, tracks)
        frame = TrackedFrame(
            number - 1,
            image,
            tracks,
            classes=('person',),
            style=style,
            earlier=tuple(seen[-style.earlier_frames :]),
        )
        np.testing.assert_array_equal(frame.draw(), expected)
        seen.append(tracks)
    assert (frame.draw(TrackStyle(trail_length=0)) != expected).any()
    assert (image == 90).all()
