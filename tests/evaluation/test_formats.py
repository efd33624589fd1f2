# Copyright (c) mmfdta authors.
"""What all formats share: sides, joined sequences, exact corners."""

from dataclasses import replace

import numpy as np
import pytest

from mmfdta.evaluation.formats import Annotations, CornerTracks, join
from mmfdta.structures.tracks import Sequence, Tracks

from .oracle import only_class


def boxes(*frames: int) -> Tracks:
    count = len(frames)
    return Tracks.create(frames, range(count), np.tile([1.0, 2, 3, 4], (count, 1)))


def test_corners_stay_what_they_are():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.random((500, 2, 2)) * [1920, 1080], axis=1).reshape(-1, 4)
    corners = corners.round(2)
    frame = rng.integers(1, 9, len(corners))
    tracks = CornerTracks.from_corners(frame, np.arange(len(corners)), corners)
    assert (tracks.xyxy == corners).all()
    assert (tracks.xywh[:, :2] + tracks.xywh[:, 2:] != corners[:, 2:]).any()
    order = np.argsort(frame, kind='stable')
    assert (tracks.in_frame_order().xyxy == corners[order]).all()
    assert (replace(tracks, frame=frame + 1).select(frame > 4).frame > 5).all()


@pytest.mark.parametrize(
    ('truth', 'result', 'length'),
    [
        (Annotations(boxes(1, 3)), Annotations(boxes(2, 5)), 5),
        (Annotations(boxes(1, 3)), Annotations(boxes()), 3),
        (Annotations(boxes()), Annotations(boxes()), 1),
        (Annotations(boxes(1), ignored=boxes(9)), Annotations(boxes()), 9),
        (Annotations(boxes(1), num_frames=7), Annotations(boxes(2)), 7),
        (Annotations(boxes(1)), Annotations(boxes(2), num_frames=4), 4),
    ],
)
def test_length_of_a_joined_sequence(truth, result, length):
    sequence = join('s', truth, result)
    assert sequence.num_frames == length
    assert sequence.ignored is truth.ignored


def test_lengths_that_differ_are_refused():
    truth = Annotations(boxes(1), num_frames=7)
    with pytest.raises(ValueError, match='s: .*6 frames, expected 7'):
        join('s', truth, Annotations(boxes(1), num_frames=6))


def test_regions_hold_for_their_class_or_for_all():
    regions = Tracks.create([1, 1, 1], [0, 1, 2], np.ones((3, 4)), label=[-1, 1, 2])
    sequence = Sequence('s', 1, boxes(1), boxes(1), regions)
    assert only_class(sequence, 1).ignored.identity.tolist() == [0, 1]
    assert only_class(sequence, 3).ignored.identity.tolist() == [0]
