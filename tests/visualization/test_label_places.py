# Copyright (c) mmfdta authors.
"""Labels in a crowd, measured pixel by pixel."""

import numpy as np
import pytest

from mmfdta.structures import Tracks
from mmfdta.visualization import TrackDrawer, TrackStyle, identity_color
from mmfdta.visualization.label_places import LabelPlacer

SHAPE = (360, 640)
LINE = 2


def _crowd(seed=0, size=45):
    """People side by side in three rows, (N, 4), and the sizes of their labels."""
    rng = np.random.default_rng(seed)
    height = rng.uniform(50, 80, size)
    center = rng.uniform(30, 610, size)
    bottom = rng.choice([140.0, 200.0, 260.0], size) + rng.normal(0, 8, size)
    left, top = center - 0.2 * height, bottom - height
    boxes = np.stack([left, top, center + 0.2 * height, bottom], axis=1)
    sizes = np.stack([rng.integers(40, 56, size), np.full(size, 12)], axis=1)
    return boxes, sizes


def _mask(left, top, right, bottom):
    mask = np.zeros(SHAPE, bool)
    top, left = max(round(top), 0), max(round(left), 0)
    mask[top : max(round(bottom), 0), left : max(round(right), 0)] = True
    return mask


def _hidden(boxes, corners, sizes):
    """Count what labels hide: pixels of other labels, of others' boxes and heads."""
    labels = [_mask(*c, *(c + s)) for c, s in zip(corners, sizes, strict=True)]
    count = np.sum(labels, axis=0)
    bodies = [_mask(*box) for box in boxes]
    heads = [_mask(x0, y0, x1, y0 + 0.3 * (y1 - y0)) for x0, y0, x1, y1 in boxes]
    found = [int((count - 1).clip(0).sum())]
    for parts in (bodies, heads):
        cover = np.sum(parts, axis=0)
        own = zip(labels, parts, strict=True)
        found.append(sum(int((cover - p)[label].sum()) for label, p in own))
    return np.array(found)


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_labels_of_a_crowd_hide_little(seed):
    """Against the usual place, above the box to the left."""
    boxes, sizes = _crowd(seed)
    usual = np.stack([boxes[:, 0] - 1, boxes[:, 1] - 1 - sizes[:, 1]], axis=1)
    usual = np.clip(np.rint(usual), 0, np.array(SHAPE[::-1]) - sizes).astype(int)
    before = _hidden(boxes, usual, sizes)
    corners = LabelPlacer().place(range(len(boxes)), boxes, sizes, SHAPE, LINE)
    after = _hidden(boxes, corners, sizes)
    assert before[0] > 3000  # the scene is dense
    assert after[0] < 0.1 * before[0]
    assert after[1] < 0.75 * before[1]
    assert after[2] < 0.5 * before[2]


def test_a_label_alone_stands_above_its_box_and_touches_every_box():
    boxes, sizes = np.array([[100.0, 100.0, 140.0, 200.0]]), np.array([[50, 12]])
    corner = LabelPlacer().place([1], boxes, sizes, SHAPE, LINE)
    np.testing.assert_array_equal(corner, [[99, 87]])
    boxes, sizes = _crowd()
    corners = LabelPlacer().place(range(len(boxes)), boxes, sizes, SHAPE, LINE)
    near = (corners + sizes >= boxes[:, :2] - 3) & (corners <= boxes[:, 2:] + 3)
    assert near.all()


def test_labels_do_not_jump_from_frame_to_frame():
    """Boxes that tremble by a pixel: labels stay on their side."""
    boxes, sizes = _crowd()
    rng = np.random.default_rng(5)
    calm, nervous = LabelPlacer(), LabelPlacer()
    moves = {calm: 0, nervous: 0}
    last = {}
    for _ in range(12):
        now = boxes + rng.uniform(-1.5, 1.5, (len(boxes), 1))
        nervous.reset()
        for placer in moves:
            place = placer.place(range(len(now)), now, sizes, SHAPE, LINE)
            place = place - now[:, :2]
            if placer in last:
                moves[placer] += int((abs(place - last[placer]) > 6).any(1).sum())
            last[placer] = place
    assert moves[calm] < 0.5 * moves[nervous]


def test_a_label_goes_back_when_its_place_is_free():
    alone = np.array([[100.0, 100.0, 140.0, 200.0]])
    # The second object stands where the label would be, and is behind.
    both = np.concatenate([alone, [[90.0, 60.0, 160.0, 130.0]]])
    size = np.array([[50, 12], [50, 12]])
    placer = LabelPlacer()
    for _ in range(5):
        (aside, _) = placer.place([1, 2], both, size, SHAPE, LINE)
        assert aside.tolist() != [99, 87]
    places = [placer.place([1], alone, size[:1], SHAPE, LINE)[0] for _ in range(30)]
    assert (places[0] == aside).all()
    assert places[-1].tolist() == [99, 87]


@pytest.mark.parametrize('shape', [(1, 1), (7, 2000), (12, 16), (4000, 30)])
def test_images_of_any_size_are_drawn(shape):
    rng = np.random.default_rng(1)
    xywh = rng.uniform(-20, 60, (30, 4))
    xywh[:, 2:] = abs(xywh[:, 2:])
    tracks = Tracks.create([1] * 30, range(30), xywh, label=[0] * 30)
    drawer = TrackDrawer(TrackStyle(show_classes=True), ('pedestrian',))
    image = np.zeros((*shape, 3), np.uint8)
    for _ in range(2):
        assert drawer.draw(image, tracks).shape == image.shape


def test_the_nearer_object_is_on_top():
    image = np.zeros((200, 200, 3), np.uint8)
    tracks = Tracks.create([1, 1], [1, 2], [[50, 60, 60, 100], [50, 60, 60, 90]])
    drawn = TrackDrawer(TrackStyle(trail_length=0, line_width=3)).draw(image, tracks)
    assert tuple(drawn[60, 80]) == identity_color(1)
