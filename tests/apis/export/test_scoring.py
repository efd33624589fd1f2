"""How alike the tracks of two sides are."""

import numpy as np

from mmfdta.apis.export.scoring import Agreement
from mmfdta.structures.tracks import Tracks


def test_frames_with_the_same_identities_are_counted_and_their_boxes_compared():
    box = np.array([10.0, 20, 30, 40])
    before = Tracks.create([1, 1, 2, 4], [0, 1, 0, 2], [box, 2 * box, box, box])
    after = Tracks.create(
        # In another order; a box moved by 0.25 px; another identity; none.
        [1, 1, 2],
        [1, 0, 5],
        [2 * box, box + [0.25, 0, 0, 0], box + 100],
    )
    # Frame 3 is empty on both sides.
    assert Agreement.of(before, after, 4) == Agreement(4, 2, 0.25)
    total = Agreement.of(before, after, 4) + Agreement(10, 10, 0.01)
    assert total == Agreement(14, 12, 0.25)
    assert total.describe() == (
        'the same identities in 12 of 14 frames, boxes there within 0.250 px'
    )
