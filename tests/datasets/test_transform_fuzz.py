# Copyright (c) mmfdta authors.
"""Boxes stay on their pixels under any chain of clip transforms.

The images are ramps: the first channel holds the column, the second the row. So the
pixels of the result say where they come from, whatever the transforms recorded.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmfdta.datasets.transforms import (
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
from mmfdta.datasets.transforms.geometry import ClipGeometry

SIDE = st.integers(40, 250)
STEPS = st.one_of(
    st.just(ClipRandomFlip(1.0)),
    st.builds(
        ClipRandomResize,
        st.lists(st.integers(30, 300), min_size=1, max_size=3),
        st.one_of(st.none(), st.integers(120, 400)),
    ),
    st.builds(ClipResize, st.integers(30, 300), st.integers(60, 400)),
    st.integers(20, 100).flatmap(
        lambda low: st.builds(ClipRandomCrop, st.just(low), st.integers(low, 250))
    ),
)


@st.composite
def boxes(draw, height: int, width: int) -> np.ndarray:
    """Boxes (M, 4) that may reach outside the image."""
    result = []
    for _ in range(draw(st.integers(1, 4))):
        x1 = draw(st.floats(-20, width - 2, width=32))
        y1 = draw(st.floats(-20, height - 2, width=32))
        w = draw(st.floats(max(1.0, 1.0 - x1), width))
        h = draw(st.floats(max(1.0, 1.0 - y1), height))
        result.append((x1, y1, x1 + w, y1 + h))
    return np.array(result, dtype=np.float32)


@st.composite
def clips(draw, is_static: bool = False) -> dict:
    height, width = draw(SIDE), draw(SIDE)
    found = draw(boxes(height, width))
    num_frames = draw(st.integers(1, 3))
    count = len(found)
    return dict(
        rng=np.random.default_rng(draw(st.integers(0, 2**32))),
        geometry=ClipGeometry((height, width)),
        img_paths=['x.jpg'] * num_frames,
        is_static=is_static,
        gt_bboxes=np.tile(found, (num_frames, 1)),
        gt_labels=np.zeros(count * num_frames, dtype=np.int64),
        gt_ids=np.tile(np.arange(count), num_frames),
        gt_frames=np.repeat(np.arange(num_frames), count),
    )


def ramp(height: int, width: int) -> np.ndarray:
    """An image whose pixels name their column and row."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[..., 0] = np.arange(width)
    image[..., 1] = np.arange(height)[:, None]
    return image


def sources(image: np.ndarray, channel: int) -> np.ndarray:
    """Source coordinate of the columns' (0) or rows' (1) centres."""
    values = image[..., channel].astype(float)
    return np.median(values, axis=channel) + 0.5


def source_of(places: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Source coordinates of edges in the result, between and beyond the centres."""
    centres = np.arange(len(places)) + 0.5
    inner = np.interp(at, centres, places)
    if len(places) < 4:
        return inner
    # The outermost pixels are mixed with their own copies.
    slope = (places[-2] - places[1]) / (len(places) - 3)
    inner = np.where(at < 1.5, places[1] + (at - 1.5) * slope, inner)
    last = len(places) - 1.5
    return np.where(at > last, places[-2] + (at - last) * slope, inner)


def assert_on_pixels(image: np.ndarray, before: np.ndarray, after: np.ndarray) -> None:
    """Compare where a box is from with where its pixels are from."""
    for channel in (0, 1):
        places = sources(image, channel)
        if len(places) < 8:
            continue
        edges = source_of(places, np.array([0.0, len(places)]))
        low, high = edges.min(), edges.max()
        scale = (high - low) / len(places)
        found = np.sort(source_of(places, after[:, [channel, channel + 2]]), axis=1)
        expected = before[:, [channel, channel + 2]].clip(low, high)
        # What reaches outside may have been clipped, or not.
        found = found.clip(low, high)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1.5 + 0.75 * scale)


@given(clip=clips(), steps=st.lists(STEPS, max_size=5))
def test_boxes_stay_on_their_pixels(clip: dict, steps: list):
    image = ramp(*clip['geometry'].source_shape)
    before, count = clip['gt_bboxes'], len(set(clip['gt_ids'].tolist()))
    for step in steps:
        clip = step(clip)
    geometry = clip['geometry']
    fast = np.empty((*geometry.shape, 3), dtype=np.uint8)
    apply_fast(image, geometry.steps, fast)
    exact = np.asarray(apply_exact(Image.fromarray(image), geometry.steps))
    assert exact.shape == fast.shape
    lengths = {len(clip[k]) for k in ('gt_bboxes', 'gt_labels', 'gt_ids', 'gt_frames')}
    assert len(lengths) == 1, 'rows of different length'
    assert (np.diff(clip['gt_frames']) >= 0).all()
    assert set(clip['gt_frames'].tolist()) == set(range(len(clip['img_paths'])))
    after = clip['gt_bboxes']
    assert after.dtype == np.float32 and (after[:, 2:] > after[:, :2]).all()
    origin = before[clip['gt_frames'] * count + clip['gt_ids']]
    for result in (fast, exact):
        assert_on_pixels(result, origin, after)


@given(clip=clips(is_static=True), ratio=st.floats(0, 0.2))
def test_boxes_follow_a_shifted_image(clip: dict, ratio: float):
    image = ramp(*clip['geometry'].source_shape)
    before, num_frames = clip['gt_bboxes'], len(clip['img_paths'])
    clip = StaticClipShift(ratio)(clip)
    geometry = clip['geometry']
    if geometry.shift is None:
        np.testing.assert_array_equal(clip['gt_bboxes'], before)
        return
    fast = shift_image(image, geometry, num_frames, apply_fast)
    exact = shift_image(Image.fromarray(image), geometry, num_frames, apply_exact)
    for frames in (fast, [np.asarray(frame) for frame in exact]):
        for t, frame in enumerate(frames):
            rows = clip['gt_frames'] == t
            origin = before[clip['gt_ids'][rows]]
            assert_on_pixels(frame, origin, clip['gt_bboxes'][rows])
