# Copyright (c) mmfdta authors.
"""Pixels: the exact way to the bit, the fast way close to it, odd files."""

import numpy as np
import pytest
from PIL import Image

from mmfdta.datasets.transforms import ClipColorJitter, DecodeClip, OpenClip
from mmfdta.datasets.transforms.color import adjust_exact, adjust_fast
from mmfdta.datasets.transforms.decoding import decode_exact, first_shrink
from mmfdta.datasets.transforms.geometry import Crop, Flip, Resize

STEPS = {
    'plain': [],
    'half': [Flip(), Resize(150, 200)],
    'quarter': [Resize(70, 93)],
    'down': [Resize(288, 384)],
    'crop': [Flip(), Resize(140, 187), Crop(10, 20, 120, 130), Resize(240, 260)],
}


def _decode(paths, steps, exact, is_static=False):
    results = OpenClip()(dict(img_paths=[str(p) for p in paths], is_static=is_static))
    results['geometry'].steps = list(steps)
    return DecodeClip(exact=exact)(results)


@pytest.fixture
def jpegs(tmp_path, make_image):
    paths = [tmp_path / f'{i}.jpg' for i in range(2)]
    for i, path in enumerate(paths):
        Image.fromarray(make_image(i, 300, 400)).save(path, quality=92)
    return paths


def _by_hand(path, steps):
    """Decode with PIL and follow the steps."""
    image = Image.open(path)
    for step in steps:
        if isinstance(step, Flip):
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        elif isinstance(step, Resize):
            image = image.resize((step.width, step.height), Image.Resampling.BILINEAR)
        else:
            right, bottom = step.left + step.width, step.top + step.height
            image = image.crop((step.left, step.top, right, bottom))
    return np.asarray(image)


@pytest.mark.parametrize('name', STEPS)
def test_exact_is_pil_and_fast_is_close(jpegs, name):
    expected = np.stack([_by_hand(path, STEPS[name]) for path in jpegs])
    exact = _decode(jpegs, STEPS[name], exact=True)
    np.testing.assert_array_equal(exact['imgs'], expected)
    fast = _decode(jpegs, STEPS[name], exact=False)
    assert fast['imgs'].dtype == np.uint8 and fast['imgs'].flags.c_contiguous
    assert fast['img_shape'] == expected.shape[1:3]
    difference = np.abs(fast['imgs'].astype(int) - expected)
    assert difference.mean() < 2.0


def test_reduced_decoding_only_where_the_first_resize_allows(jpegs):
    shrinks = {}
    for name, steps in STEPS.items():
        results = OpenClip()(dict(img_paths=[str(jpegs[0])], is_static=False))
        results['geometry'].steps = steps
        shrinks[name] = first_shrink(results['geometry'])
    assert shrinks['plain'] == 1 and shrinks['half'] == 2
    assert shrinks['quarter'] > 4 and 1 < shrinks['down'] < 2 < shrinks['crop']


@pytest.mark.parametrize('exact', [True, False])
def test_odd_kinds_of_images(tmp_path, make_image, exact):
    image = Image.fromarray(make_image(0, 60, 80))
    image.convert('L').save(tmp_path / 'grey.jpg')
    image.convert('CMYK').save(tmp_path / 'cmyk.jpg')
    image.convert('P').save(tmp_path / 'palette.png')
    image.convert('RGBA').save(tmp_path / 'rgba.png')
    deep = np.asarray(image.convert('L')).astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / 'deep.png')
    original = np.asarray(image).astype(int)
    grey = np.asarray(image.convert('L')).astype(int)[..., None]
    limits = {
        'grey.jpg': (grey, 4),
        'cmyk.jpg': (original, 8),
        'palette.png': (original, 25),
        'rgba.png': (original, 0.01),
        'deep.png': (grey, 0.01),
    }
    for name, (expected, limit) in limits.items():
        found = _decode([tmp_path / name], [], exact)['imgs'][0]
        assert found.shape == (60, 80, 3)
        assert np.abs(found - expected).mean() < limit, name


@pytest.mark.parametrize('exact', [True, False])
def test_floats_are_not_taken_for_grey_levels(tmp_path, make_image, exact):
    floats = make_image(0, 60, 80)[..., 0].astype(np.float32) / 255
    Image.fromarray(floats).save(tmp_path / 'floats.tif')
    with pytest.raises(OSError, match=r'floats\.tif: found pixels that are floats'):
        _decode([tmp_path / 'floats.tif'], [], exact)


@pytest.mark.parametrize('exact', [True, False])
def test_exif_orientation_is_ignored(tmp_path, make_image, exact):
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees"
    image = Image.fromarray(make_image(0, 60, 80))
    image.save(tmp_path / 'turned.jpg', exif=exif)
    image.save(tmp_path / 'plain.jpg')
    turned, plain = (
        _decode([tmp_path / f'{name}.jpg'], [], exact)['imgs']
        for name in ('turned', 'plain')
    )
    assert turned.shape == (1, 60, 80, 3)
    np.testing.assert_array_equal(turned, plain)


@pytest.mark.parametrize('exact', [True, False])
def test_broken_images_are_named(tmp_path, make_image, jpegs, exact):
    cut = tmp_path / 'cut.jpg'
    cut.write_bytes(jpegs[0].read_bytes()[:3000])
    text = tmp_path / 'text.jpg'
    text.write_text('no image')
    empty = tmp_path / 'empty.jpg'
    empty.touch()
    other = tmp_path / 'other.jpg'
    Image.fromarray(make_image(0, 200, 400)).save(other)
    with pytest.raises(OSError, match='text.jpg: not an image'):
        _decode([jpegs[0], text], [], exact)
    with pytest.raises(OSError, match='empty.jpg: not an image'):
        _decode([jpegs[0], empty], [], exact)
    with pytest.raises(OSError, match='cut.jpg: cannot decode'):
        _decode([jpegs[0], cut], [], exact)
    with pytest.raises(FileNotFoundError, match='absent.jpg: no such image'):
        _decode([jpegs[0], tmp_path / 'absent.jpg'], [], exact)
    with pytest.raises(ValueError, match='other.jpg: found 400x200 pixels, .* 400x300'):
        _decode([jpegs[0], other], [Resize(30, 40)], exact)


@pytest.mark.parametrize('exact', [True, False])
@pytest.mark.parametrize('part', [2, 4, 8])
@pytest.mark.parametrize('name', STEPS)
def test_a_frame_of_a_part_of_the_size_is_refused(tmp_path, jpegs, exact, part, name):
    """It is no reduced decoding: its boxes are in pixels of the larger frames."""
    small = tmp_path / 'small.jpg'
    Image.new('RGB', (400 // part, -(-300 // part))).save(small)
    with pytest.raises(ValueError, match='small.jpg: found .* expected 400x300'):
        _decode([jpegs[0], small], STEPS[name], exact)


def test_static_image_is_repeated_and_shifted(jpegs, make_image):
    for exact in (True, False):
        same = _decode([jpegs[0]] * 3, [], exact, is_static=True)['imgs']
        np.testing.assert_array_equal(same[0], same[2])
        results = OpenClip()(dict(img_paths=[str(jpegs[0])] * 3, is_static=True))
        results['geometry'].shift = Crop(0, 24, 300, 376)
        results['geometry'].reverse = True
        moved = DecodeClip(exact=exact)(results)['imgs']
        np.testing.assert_array_equal(moved[2], np.asarray(decode_exact(jpegs[0])))
        shifted = Image.fromarray(moved[2]).crop((24, 0, 400, 300))
        expected = np.asarray(shifted.resize((400, 300), Image.Resampling.BILINEAR))
        assert np.abs(moved[1].astype(int) - expected).mean() < 0.1


def test_jitter_draws_agree_with_the_rule():
    jitter = ClipColorJitter(0.4, 0.4, 0.4, 0.2)
    rng = np.random.default_rng(0)
    draws = [jitter.draw(rng) for _ in range(6000)]
    first = dict.fromkeys(('brightness', 'contrast', 'saturation', 'hue'), 0)
    values = {name: [] for name in first}
    for draw in draws:
        assert sorted(name for name, _ in draw) == sorted(first)
        first[draw[0][0]] += 1
        for name, factor in draw:
            values[name].append(factor)
    for count in first.values():
        assert abs(count - 1500) < 4 * np.sqrt(6000 * 0.25 * 0.75)
    for name, (low, high) in dict(
        brightness=(0.6, 1.4),
        contrast=(0.6, 1.4),
        saturation=(0.6, 1.4),
        hue=(-0.2, 0.2),
    ).items():
        found = np.array(values[name])
        assert low <= found.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < found.max() <= high
        quarters = np.histogram(found, bins=4, range=(low, high))[0]
        assert np.abs(quarters - 1500).max() < 4 * np.sqrt(6000 * 0.25 * 0.75)


def _pil_adjust(frame, name, factor):
    """Adjust with PIL's own enhancers."""
    from PIL import ImageEnhance

    image = Image.fromarray(frame)
    if name == 'hue':
        hue, saturation, value = image.convert('HSV').split()
        moved = (np.asarray(hue).astype(int) + int(factor * 255)) % 256
        hue = Image.fromarray(moved.astype(np.uint8))
        return np.asarray(Image.merge('HSV', (hue, saturation, value)).convert('RGB'))
    enhancer = dict(
        brightness=ImageEnhance.Brightness,
        contrast=ImageEnhance.Contrast,
        saturation=ImageEnhance.Color,
    )[name]
    return np.asarray(enhancer(image).enhance(factor))


@pytest.mark.parametrize(
    ('name', 'factors'),
    [
        ('brightness', (0.6, 0.93, 1.4)),
        ('contrast', (0.6, 1.07, 1.4)),
        ('saturation', (0.6, 1.21, 1.4)),
        ('hue', (-0.2, 0.07, 0.2)),
    ],
)
def test_adjustments_are_those_of_pil(make_image, name, factors):
    frame = make_image(3, 120, 160)
    for factor in factors:
        expected = _pil_adjust(frame, name, factor)
        exact, fast = frame.copy(), frame.copy()
        adjust_exact(exact, name, factor)
        adjust_fast(fast, name, factor, np.empty_like(fast))
        np.testing.assert_array_equal(exact, expected)
        # The picture is far more saturated than a photograph; see the docstring.
        limit = 1.5 if name == 'hue' else 0.5
        assert np.abs(fast.astype(int) - expected).mean() < limit


@pytest.mark.parametrize('exact', [True, False])
def test_jitter_shares_its_draw_and_leaves_depth_alone(make_image, exact):
    frame = make_image(1, 90, 120)
    results = dict(
        imgs=np.stack([frame, frame]),
        depths=np.stack([frame, frame])[..., :1].copy(),
        rng=np.random.default_rng(0),
    )
    results = ClipColorJitter(exact=exact)(results)
    assert (results['imgs'][0] != frame).mean() > 0.5
    np.testing.assert_array_equal(results['imgs'][0], results['imgs'][1])
    np.testing.assert_array_equal(results['depths'][0], frame[..., :1])


def test_jitter_switched_off_does_nothing(make_image):
    frame = make_image(1, 30, 40)
    results = dict(imgs=frame[None].copy(), rng=np.random.default_rng(0))
    ClipColorJitter(0, 0, 0, 0)(results)
    np.testing.assert_array_equal(results['imgs'][0], frame)
    with pytest.raises(ValueError, match='hue'):
        ClipColorJitter(hue=0.6)
