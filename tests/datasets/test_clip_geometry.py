# Copyright (c) mmfdta authors.
"""Clip geometry: sizes, boxes that stay on their objects, distributions."""

import math
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from mmfdta.datasets.transforms import (
    ClipRandomChoice,
    ClipRandomCrop,
    ClipRandomFlip,
    ClipRandomResize,
    ClipResize,
    StaticClipShift,
)
from mmfdta.datasets.transforms.decoding import (
    apply_exact,
    apply_fast,
    shift_image,
)
from mmfdta.datasets.transforms.geometry import (
    ClipGeometry,
    Crop,
    Flip,
    Resize,
)
from mmfdta.structures.frame_sizes import inference_size, training_size

SCALES = [480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800]


def _apply(image, geometry):
    out = np.empty((*geometry.shape, image.shape[2]), dtype=np.uint8)
    apply_fast(image, geometry.steps, out)
    return out


def _clip(shape, boxes, num_frames=3, seed=0, is_static=False):
    boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    count = len(boxes)
    return dict(
        rng=np.random.default_rng(seed),
        geometry=ClipGeometry(shape),
        img_paths=['x.jpg'] * num_frames,
        is_static=is_static,
        gt_bboxes=np.tile(boxes, (num_frames, 1)),
        gt_labels=np.zeros(count * num_frames, dtype=np.int64),
        gt_ids=np.tile(np.arange(count), num_frames),
        gt_frames=np.repeat(np.arange(num_frames), count),
    )


def test_size_rules():
    # Worked out by hand: 800 * 1920 / 1080 = 1422.2; 1440 * 9 / 16 = 810 > 800.
    assert training_size((1080, 1920), 800, 1440) == (800, 1422)
    assert inference_size((1080, 1920), 800, 1440) == (800, 1422)
    # 480 * 853 / 480 = 853; 608 * 1920 / 1080 = 1080.9: rounded or cut off.
    assert training_size((1080, 1920), 608, 1440) == (608, 1081)
    assert inference_size((1080, 1920), 608, 1440) == (608, 1080)
    # The long side's limit holds: 1440 * 720 / 1480 = 700.5; in training the
    # short side's floor decides and the long side follows: 700 * 1480 / 720.
    assert training_size((720, 1480), 800, 1440) == (700, 1439)
    assert inference_size((720, 1480), 800, 1440) == (700, 1440)
    assert training_size((1920, 1080), 480, 1440) == (853, 480)
    assert inference_size((1920, 1080), 800, 1440) == (1422, 800)
    assert training_size((600, 600), 480, 1440) == (480, 480)


def test_long_side_never_passes_its_limit():
    for shape in [(100, 1000), (333, 777), (1080, 1920), (721, 1280)]:
        for short in SCALES:
            assert max(inference_size(shape, short, 1440)) <= 1440
            assert max(training_size(shape, short, 1440)) <= 1440


def _painted(shape, box):
    image = np.zeros((*shape, 3), dtype=np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    return image


def _measure(image):
    """Find a white rectangle's edges to sub-pixel accuracy by its area."""
    grey = image[..., 0].astype(float) / 255
    rows, columns = grey.max(axis=1), grey.max(axis=0)
    y1, x1 = np.flatnonzero(rows > 0.5)[0], np.flatnonzero(columns > 0.5)[0]
    return np.array([x1, y1, x1 + columns.sum(), y1 + rows.sum()])


@pytest.mark.parametrize('seed', range(20))
def test_boxes_stay_on_their_objects(seed):
    shape, box = (540, 960), (300, 150, 620, 400)
    clip = _clip(shape, [box], seed=seed)
    pipeline = [
        ClipRandomFlip(),
        ClipRandomChoice(
            [
                [ClipRandomResize(SCALES, 1440)],
                [
                    ClipRandomResize([400, 500, 600]),
                    ClipRandomCrop(384, 600),
                    ClipRandomResize(SCALES, 1440),
                ],
            ]
        ),
    ]
    for step in pipeline:
        clip = step(clip)
    geometry = clip['geometry']
    image = _painted(shape, box)
    exact = np.asarray(apply_exact(Image.fromarray(image), geometry.steps))
    fast = _apply(image, geometry)
    assert exact.shape[:2] == fast.shape[:2] == geometry.shape
    for result in (exact, fast):
        for found in clip['gt_bboxes']:
            np.testing.assert_allclose(found, _measure(result), atol=2.5)


def test_depth_moves_with_the_image(make_image):
    clip = _clip((540, 960), [(300, 150, 620, 400)], seed=4)
    for step in (
        ClipRandomFlip(1.0),
        ClipRandomResize([400]),
        ClipRandomCrop(384, 600),
        ClipRandomResize([800], 1440),
    ):
        clip = step(clip)
    grey = make_image(0, 540, 960)[..., :1]
    depth = _apply(grey, clip['geometry'])
    image = _apply(np.repeat(grey, 3, axis=2), clip['geometry'])
    assert depth.shape == (*clip['geometry'].shape, 1)
    for channel in range(3):
        np.testing.assert_array_equal(depth[..., 0], image[..., channel])


def test_crop_clips_and_drops_boxes():
    class Fixed:
        """Draws height 60, width 50, top 10, left 20."""

        def __init__(self):
            self.values = [60, 50, 10, 20]

        def integers(self, *args):
            return self.values.pop(0)

    boxes = [(0, 0, 30, 30), (0, 0, 20, 100), (60, 60, 90, 200), (25, 15, 30, 20)]
    clip = _clip((100, 100), boxes)
    clip['rng'] = Fixed()
    clip = ClipRandomCrop(40, 60)(clip)
    assert clip['geometry'].steps == [Crop(top=10, left=20, height=60, width=50)]
    # The second box only touches the window's edge: no area is left of it.
    expected = [(0, 0, 10, 20), (40, 50, 50, 60), (5, 5, 10, 10)]
    np.testing.assert_array_equal(clip['gt_bboxes'], expected * 3)
    assert clip['gt_ids'].tolist() == [0, 2, 3] * 3
    assert clip['gt_frames'].tolist() == [0] * 3 + [1] * 3 + [2] * 3


def test_crop_is_refused_when_a_frame_would_be_empty():
    clip = _clip((600, 600), [(0, 0, 300, 300)])
    clip['gt_bboxes'][-1] = (597, 597, 600, 600)  # in the last frame only
    refused = 0
    for seed in range(50):
        trial = dict(clip, rng=np.random.default_rng(seed))
        trial['geometry'] = ClipGeometry((600, 600))
        trial = ClipRandomCrop(384, 500)(trial)
        if not trial['geometry'].steps:
            refused += 1
            np.testing.assert_array_equal(trial['gt_bboxes'], clip['gt_bboxes'])
        else:
            assert len(trial['gt_bboxes']) == 3
    assert refused > 40


def test_crop_of_an_image_smaller_than_the_window():
    clip = ClipRandomCrop(384, 600)(_clip((200, 500), [(0, 0, 200, 200)]))
    crop = clip['geometry'].steps[0]
    assert crop.height == 200 and 384 <= crop.width <= 500


def test_boxes_outside_the_image_are_kept_without_a_crop():
    clip = ClipRandomResize([50])(_clip((100, 100), [(-20, -10, 40, 150)]))
    np.testing.assert_array_equal(clip['gt_bboxes'][0], (-10, -5, 20, 75))


def test_clips_without_boxes_pass():
    clip = {k: v for k, v in _clip((600, 700), []).items() if not k.startswith('gt')}
    for step in (ClipRandomFlip(1.0), ClipRandomCrop(), ClipResize(300, 400)):
        clip = step(clip)
    assert clip['geometry'].shape[0] >= 300 or clip['geometry'].shape[1] >= 300


def test_scale_factor_is_that_of_all_resizes():
    geometry = ClipGeometry((100, 200))
    geometry.steps = [Flip(), Resize(50, 120), Crop(5, 5, 40, 60), Resize(80, 90)]
    np.testing.assert_allclose(geometry.scale_factor, (0.6 * 1.5, 0.5 * 2.0))
    assert geometry.shape == (80, 90)


def _draw_many(transform, shape, count):
    for seed in range(count):
        clip = transform(_clip(shape, [(100, 100, 900, 500)], num_frames=2, seed=seed))
        yield clip['geometry']


def test_flip_rate():
    flips = sum(bool(g.steps) for g in _draw_many(ClipRandomFlip(), (540, 960), 4000))
    assert abs(flips / 4000 - 0.5) < 4 * math.sqrt(0.25 / 4000)


def test_short_sides_are_uniform():
    draws = _draw_many(ClipRandomResize(SCALES, 1440), (1080, 1920), 4400)
    counts = Counter(g.shape[0] for g in draws)
    assert sorted(counts) == SCALES
    assert max(abs(c - 400) for c in counts.values()) < 4 * math.sqrt(400)


def test_crop_sizes_and_places_are_uniform():
    draws = _draw_many(ClipRandomCrop(384, 600), (500, 888), 4000)
    crops = [g.steps[0] for g in draws]
    heights = np.array([c.height for c in crops])
    widths = np.array([c.width for c in crops])
    tops = np.array([c.top / (500 - c.height) for c in crops if c.height < 500])
    lefts = np.array([c.left / (888 - c.width) for c in crops])
    # Heights 384..500, widths 384..600: both ends occur; means of uniform draws.
    assert heights.min() == 384 and heights.max() == 500
    assert widths.min() == 384 and widths.max() == 600
    assert abs(heights.mean() - 442) < 4 * heights.std() / math.sqrt(4000)
    assert abs(widths.mean() - 492) < 4 * widths.std() / math.sqrt(4000)
    for places in (tops, lefts):
        assert places.min() == 0 and places.max() == 1
        assert abs(places.mean() - 0.5) < 4 * places.std() / math.sqrt(len(places))
    assert abs(np.corrcoef(heights, widths)[0, 1]) < 4 / math.sqrt(4000)


def test_choice_follows_its_probabilities():
    choice = ClipRandomChoice([[ClipRandomResize([50])], [ClipRandomResize([80])]])
    counts = Counter(g.shape[0] for g in _draw_many(choice, (100, 100), 2000))
    assert abs(counts[50] - 1000) < 4 * math.sqrt(500)
    biased = ClipRandomChoice(
        [[ClipRandomResize([50])], [ClipRandomResize([80])]], prob=[0.9, 0.1]
    )
    counts = Counter(g.shape[0] for g in _draw_many(biased, (100, 100), 2000))
    assert abs(counts[50] - 1800) < 4 * math.sqrt(180)
    with pytest.raises(ValueError, match='1 probabilities for 2'):
        ClipRandomChoice([[], []], prob=[1.0])


def test_static_shift_distribution():
    windows, reversed_clips = [], 0
    for seed in range(2000):
        clip = _clip((100, 200), [(50, 30, 150, 70)], seed=seed, is_static=True)
        geometry = StaticClipShift(0.06)(clip)['geometry']
        windows.append(geometry.shift)
        reversed_clips += geometry.reverse
    # 6 % of 200 and 100 pixels: shifts of -12..12 and -6..6, all equally likely.
    x = Counter((200 - w.width) * (1 if w.left else -1) for w in windows)
    y = Counter((100 - w.height) * (1 if w.top else -1) for w in windows)
    assert sorted(x) == list(range(-12, 13)) and sorted(y) == list(range(-6, 7))
    assert max(abs(c - 80) for c in x.values()) < 4 * math.sqrt(80)
    assert max(abs(c - 2000 / 13) for c in y.values()) < 4 * math.sqrt(2000 / 13)
    assert abs(reversed_clips - 1000) < 4 * math.sqrt(500)


@pytest.mark.parametrize('reverse', [False, True])
def test_static_shift_moves_boxes_with_the_image(reverse):
    shape, box = (200, 300), (120, 80, 200, 140)
    for seed in range(20):
        clip = _clip(shape, [box], num_frames=4, seed=seed, is_static=True)
        clip = StaticClipShift(0.06)(clip)
        geometry = clip['geometry']
        if geometry.shift is None or geometry.reverse != reverse:
            continue
        image = _painted(shape, box)
        frames = shift_image(image, geometry, 4, apply_fast)
        exact = shift_image(Image.fromarray(image), geometry, 4, apply_exact)
        for fast_frame, exact_frame in zip(frames, exact, strict=True):
            difference = np.abs(fast_frame.astype(int) - np.asarray(exact_frame))
            assert difference.mean() < 0.1
        assert clip['gt_frames'].tolist() == [0, 1, 2, 3]
        for frame, found in zip(frames, clip['gt_bboxes'], strict=True):
            np.testing.assert_allclose(found, _measure(frame), atol=3)


def test_static_shift_is_refused_when_objects_would_leave():
    moved = set()
    for seed in range(60):
        clip = _clip((100, 100), [(0, 0, 4, 100)], 12, seed, is_static=True)
        clip = StaticClipShift(0.06)(clip)
        moved.add(clip['geometry'].shift is None)
        if clip['geometry'].shift is None:
            np.testing.assert_array_equal(clip['gt_bboxes'], [(0, 0, 4, 100)] * 12)
        assert set(clip['gt_frames'].tolist()) == set(range(12))
    assert moved == {True, False}


def test_video_is_not_shifted():
    clip = StaticClipShift()(_clip((100, 100), [(0, 0, 50, 50)]))
    assert clip['geometry'].shift is None


@pytest.mark.parametrize(
    'step',
    [
        ClipRandomFlip(1.0),
        ClipRandomResize([400]),
        ClipResize(400),
        ClipRandomCrop(384, 600),
        StaticClipShift(),
    ],
)
def test_pixels_that_are_read_are_not_left_behind(step):
    """Boxes move with the pixels, or the pipeline is refused."""
    for key, size in (('imgs', (540, 960)), ('depths', (540, 960)), ('imgs', (0, 0))):
        clip = _clip((540, 960), [(300, 150, 620, 400)], is_static=True)
        clip[key] = np.zeros((3, *size, 3), np.uint8)
        if size == (0, 0):  # boxes alone, of OpenBoxes
            step(clip)
            continue
        reader = {'imgs': 'DecodeClip', 'depths': 'LoadClipDepth'}[key]
        with pytest.raises(ValueError, match=f'after {reader}, expected it before'):
            step(clip)


@pytest.mark.parametrize('key', ['id_targets', 'gt_scores'])
@pytest.mark.parametrize('step', [ClipRandomCrop(384, 600), StaticClipShift()])
def test_boxes_that_are_counted_are_not_dropped(step, key):
    clip = _clip((540, 960), [(300, 150, 620, 400)], is_static=True)
    with pytest.raises(ValueError, match='may drop boxes'):
        step({**clip, key: np.zeros(3, np.float32)})


@pytest.mark.parametrize('step', [ClipRandomFlip(1.0), ClipRandomResize([400])])
def test_a_shift_is_the_first_step(step):
    """It is one of the file's pixels, so that boxes must not have moved before."""
    clip = step(_clip((540, 960), [(300, 150, 620, 400)], is_static=True))
    with pytest.raises(ValueError, match='right after OpenClip'):
        StaticClipShift()(clip)


@pytest.mark.parametrize('step', [ClipRandomFlip(0.5), ClipRandomCrop(384, 600)])
def test_a_test_is_not_flipped_or_cropped(step):
    """Nothing turns its results back into pixels of the original image."""
    clip = _clip((540, 960), [(300, 150, 620, 400)])
    with pytest.raises(ValueError, match='in a test, expected ClipResize alone'):
        step({**clip, 'test_mode': True})
    still = ClipRandomFlip(0.0)({**clip, 'test_mode': True})
    assert still['geometry'].steps == []
