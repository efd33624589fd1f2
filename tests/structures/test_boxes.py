# Copyright (c) mmfdta authors.
"""How boxes cover each other, against counted pixels."""

import numpy as np
import pytest

from mmfdta.structures.boxes import covered_shares


def painted(box):
    """The pixels of a box with whole corners."""
    image = np.zeros((40, 40), bool)
    left, top, right, bottom = box
    image[top:bottom, left:right] = True
    return image


@pytest.mark.parametrize('by_nearer', [False, True])
def test_shares_are_those_of_counted_pixels(by_nearer):
    rng = np.random.default_rng(3)
    corner = rng.integers(0, 20, (12, 2))
    boxes = np.hstack([corner, corner + rng.integers(1, 20, (12, 2))])
    expected = []
    for i, box in enumerate(boxes):
        others = [
            other
            for j, other in enumerate(boxes)
            if j != i and (not by_nearer or other[3] > box[3])
        ]
        pixels = painted(box)
        counts = [(pixels & painted(other)).sum() for other in others]
        expected.append(max(counts, default=0) / pixels.sum())
    assert 0 in expected or not by_nearer  # the nearest one
    found = covered_shares(boxes.astype(np.float32), by_nearer)
    assert found == pytest.approx(expected)


def test_no_boxes_and_empty_ones_are_not_covered():
    assert covered_shares(np.zeros((0, 4), np.float32)).tolist() == []
    boxes = np.array([[5, 5, 5, 9], [0, 0, 10, 10], [8, 8, 3, 3]], np.float32)
    assert covered_shares(boxes).tolist() == [0, 0, 0]
