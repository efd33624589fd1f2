# Copyright (c) mmfdta authors.
"""Colours, boxes, labels and trails."""

import itertools
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import VISUALIZERS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmfdta.structures import Tracks
from mmfdta.visualization import (
    TrackDrawer,
    TrackStyle,
    colors,
    draw_caption,
    identity_color,
)
from mmfdta.visualization.areas import draw_line
from mmfdta.visualization.colors import text_color
from mmfdta.visualization.drawing import draw_text, text_size

PLAIN = TrackStyle(trail_length=0)


def _tracks(boxes, ids, **more):
    xywh = np.array(boxes, dtype=float).reshape(-1, 4)
    xywh[:, 2:] -= xywh[:, :2]
    return Tracks.create(np.ones(len(ids)), ids, xywh, **more)


def _lab(colors):
    image = np.array([colors], dtype=np.float32) / 255
    return cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[0]


def test_near_identities_have_far_colors():
    """CIE76 distances; about 2.3 is just noticeable."""
    for start in (0, 1, 97, 5000):
        lab = _lab([identity_color(start + i) for i in range(12)])
        for a, b in itertools.combinations(lab, 2):
            assert np.linalg.norm(a - b) > 15


def test_colors_are_the_same_in_another_process():
    code = (
        f'import runpy; color = runpy.run_path({colors.__file__!r})["identity_color"]'
    )
    code += '\nprint([color(i) for i in (0, 1, 2, 77, 10**9)])'
    run = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ, PYTHONHASHSEED='123'),
    )
    expected = [identity_color(i) for i in (0, 1, 2, 77, 10**9)]
    assert run.stdout.strip() == str(expected)


def test_colors_leave_the_random_state_alone():
    np.random.seed(5)
    expected = np.random.rand()
    np.random.seed(5)
    drawer = TrackDrawer()
    drawer.draw(np.zeros((50, 50, 3), np.uint8), _tracks([[5, 5, 20, 20]], [123456]))
    assert np.random.rand() == expected


def test_text_contrasts_with_every_identity():
    """WCAG asks for a contrast ratio of 4.5 for text."""
    for identity in range(300):
        background = identity_color(identity)
        luminances = []
        for color in (background, text_color(background)):
            value = np.array(color) / 255
            linear = np.where(
                value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4
            )
            luminances.append(linear @ [0.2126, 0.7152, 0.0722])
        low, high = sorted(luminances)
        assert (high + 0.05) / (low + 0.05) > 4.5


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_box_lines_are_where_the_box_is(order):
    image = np.full((200, 300, 3), 40, np.uint8)
    drawer = TrackDrawer(TrackStyle(trail_length=0, line_width=1), channel_order=order)
    drawn = drawer.draw(image, _tracks([[50, 80, 150, 160]], [7]))
    assert (image == 40).all()  # the frame itself is untouched
    color = np.array(identity_color(7))
    color = color if order == 'rgb' else color[::-1]
    for y, x in ((160, 100), (120, 50), (120, 150)):
        np.testing.assert_allclose(drawn[y, x].astype(int), color, atol=20)
    assert (drawn[90:150, 60:140] == 40).all()
    # The label stands above the box, in the identity's colour.
    width, height = text_size('7', drawer.style.font_pixels(image.shape, 80))
    label = drawn[79 - height : 79, 51 : 50 + width - 1].reshape(-1, 3)
    assert (label == color).all(-1).mean() > 0.5
    assert (drawn[: 79 - height] == 40).all()


def test_the_arrow_of_a_line_points_to_the_left_of_who_looks_along_it():
    image = np.zeros((160, 160, 3), np.uint8)
    draw_line(image, np.array([[80.0, 0.0], [80.0, 159.0]]), TrackStyle(line_width=1))
    assert image[:, :75].max() == 0 < image[:, 85:].max()  # down: to the right


def test_color_of_an_identity_stays_from_frame_to_frame():
    drawer = TrackDrawer(PLAIN)
    image = np.zeros((100, 100, 3), np.uint8)
    first = drawer.draw(image, _tracks([[10, 40, 40, 80]], [3]))
    second = drawer.draw(image, _tracks([[60, 40, 90, 80], [10, 40, 40, 80]], [9, 3]))
    np.testing.assert_array_equal(first[:, :50], second[:, :50])


def test_labels_stay_inside_of_the_image():
    image = np.zeros((120, 160, 3), np.uint8)
    drawer = TrackDrawer(TrackStyle(trail_length=0, show_scores=True))
    for box in ([-20, -30, 40, 60], [150, 2, 220, 60], [140, -5, 159, 119]):
        drawn = drawer.draw(image, _tracks([box], [88], score=[0.5]))
        size = drawer.style.font_pixels(image.shape, box[3] - box[1])
        width, height = text_size('88 0.50', size)
        color = np.array(identity_color(88))
        pixels = (drawn == color).all(-1).sum()
        # The label's background is whole: most of its area has the colour.
        assert pixels > 0.4 * width * height


def test_boxes_beyond_all_bounds_are_drawn_without_fault():
    image = np.zeros((60, 80, 3), np.uint8)
    boxes = [[-1e9, -1e9, 1e9, 1e9], [1e6, 1e6, 2e6, 2e6], [10, 10, 10, 10]]
    drawer = TrackDrawer()
    for _ in range(3):
        drawn = drawer.draw(image, _tracks(boxes, [1, 2, 3]))
    assert drawn.shape == image.shape


def test_no_tracks_leave_the_image():
    image = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    drawn = TrackDrawer().draw(image, _tracks([], []))
    np.testing.assert_array_equal(drawn, image)
    assert drawn is not image


def test_trails_follow_the_foot_and_are_forgotten():
    drawer = TrackDrawer(TrackStyle(trail_length=5, line_width=1))
    image = np.zeros((100, 200, 3), np.uint8)
    for step in range(8):
        left = 10 + 20 * step
        drawn = drawer.draw(image, _tracks([[left, 20, left + 10, 60]], [4]))
    color = np.array(identity_color(4))
    # Feet at y = 60, x = 15 + 20 * step; the last five are joined.
    trail = drawn[60, 76:150].astype(int)
    assert (abs(trail - color) < 20).all(-1).mean() > 0.9
    assert not drawn[58:63, :73].any()
    for _ in range(5):
        drawn = drawer.draw(image, _tracks([], []))
        assert not drawn.any()
    # Who comes back later is not joined to the place of leaving.
    drawn = drawer.draw(image, _tracks([[20, 20, 30, 60]], [4]))
    assert not drawn[58:63, 45:].any()


def test_trails_do_not_pile_up():
    """Neither in frames full of new objects nor where objects are rare."""
    image = np.zeros((20, 20, 3), np.uint8)
    box = [[1, 1, 9, 9]]
    for every in (1, 7):
        drawer = TrackDrawer(TrackStyle(trail_length=10))
        for identity in range(300):
            seen = identity % every == 0
            drawer.draw(image, _tracks(box * seen, [identity] * seen))
        assert len(drawer._trails.trace.xy) <= 10
        assert len(drawer._placer._chosen) <= 1


def test_sizes_follow_the_image():
    style = TrackStyle()
    small, large = (360, 640), (2160, 3840)
    assert style.line_pixels(small) < style.line_pixels(large)
    assert style.font_pixels(small, 100) < style.font_pixels(large, 600)
    assert style.font_pixels(large, 20) < style.font_pixels(large, 600)
    assert TrackStyle(line_width=4, font_size=9).line_pixels(small) == 4


@pytest.mark.parametrize(
    'wrong',
    [
        *(dict(line_width=value) for value in (0, -1, float('nan'), 1e9)),
        *(dict(font_size=value) for value in (0, -4, float('nan'), 5000)),
        dict(trail_length=-1),
    ],
)
def test_styles_out_of_range_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f'^{name}: found .*, expected'):
        TrackStyle(**wrong)


@pytest.mark.parametrize('corner', [(-5, -5), (35, 25), (-500, 3), (3, 500)])
def test_text_is_clipped_at_the_borders(corner):
    whole = np.zeros((300, 300, 3), np.uint8)
    draw_text(whole, 'Text 12', (100 + corner[0], 100 + corner[1]), 12, (9, 90, 9))
    image = np.zeros((30, 40, 3), np.uint8)
    draw_text(image, 'Text 12', corner, 12, (9, 90, 9))
    np.testing.assert_array_equal(image, whole[100:130, 100:140])


def test_caption_is_drawn_in_the_corner():
    image = np.full((200, 400, 3), 120, np.uint8)
    draw_caption(image, 'frame 1')
    assert (image[:40, :100] != 120).any()
    assert (image[60:] == 120).all()


def test_visualizer_draws_tracks_and_ground_truth(tmp_path):
    """It takes predictions and ground truth, which spell identities differently."""
    visualizer = VISUALIZERS.build(
        dict(type='TrackVisualizer', name='test_visualizer', save_dir=str(tmp_path))
    )
    sample = DetDataSample()
    box = torch.tensor([[10.0, 30.0, 40.0, 80.0]])
    sample.pred_track_instances = InstanceData(
        bboxes=box,
        scores=torch.tensor([0.9]),
        labels=torch.tensor([0]),
        instances_id=torch.tensor([5]),
    )
    sample.gt_instances = InstanceData(
        bboxes=box + 30, labels=torch.tensor([0]), instances_ids=torch.tensor([6])
    )
    out = tmp_path / 'drawn.png'
    visualizer.add_datasample(
        'x', np.zeros((120, 100, 3), np.uint8), sample, out_file=str(out)
    )
    drawn = cv2.imread(str(out))[..., ::-1]
    assert drawn.shape == (120, 200, 3)  # ground truth on the left
    assert (drawn[:, :100] == identity_color(6)).all(-1).any()
    assert (drawn[:, 100:] == identity_color(5)).all(-1).any()
    assert not (drawn[:, :100] == identity_color(5)).all(-1).any()
