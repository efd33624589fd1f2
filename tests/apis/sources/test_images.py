# Copyright (c) mmfdta authors.
"""Single images, folders, patterns and animations."""

import warnings
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from mmfdta.apis.sources import open_source
from mmfdta.datasets.transforms.decoding import decode_exact


def stored(index: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A grey picture of which each corner is another one."""
    image = np.full((size[1], size[0], 3), 10 * index, np.uint8)
    image[:8, :8], image[:8, -8:], image[-8:, :8] = (
        (250, 0, 0),
        (0, 250, 0),
        (0, 0, 250),
    )
    return Image.fromarray(image)


def bgr(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert('RGB'))[..., ::-1]


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['png', 'webp', 'tif', 'jpg'])
def test_exif_is_followed_but_in_data_sets(tmp_path, read, orientation, suffix):
    folder = tmp_path / 's' / 'img1'
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = dict(lossless=True) if suffix == 'webp' else {}
    stored(5).save(folder / f'1.{suffix}', exif=exif, **options)
    with Image.open(folder / f'1.{suffix}') as image:
        expected, as_it_is = bgr(ImageOps.exif_transpose(image)), bgr(image)
    (image,) = read(folder).images
    np.testing.assert_array_equal(image, expected)
    # The folder of a sequence is one with annotations, which do not follow EXIF.
    (folder.parent / 'gt').mkdir()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        for source in (folder.parent, folder, folder / f'1.{suffix}', folder / '*.*'):
            (image,) = read(source).images
            np.testing.assert_array_equal(image, as_it_is)
    # Pillow itself turns TIFF, for data sets as well.
    assert len(said) == (4 if orientation > 1 and suffix != 'tif' else 0)


@pytest.mark.parametrize(
    ('mode', 'suffix'),
    [('L', 'png'), ('1', 'png'), ('P', 'png'), ('LA', 'png'), ('RGBA', 'png')]
    + [('CMYK', 'jpg'), ('L', 'jpg'), ('RGBA', 'webp'), ('P', 'bmp'), ('CMYK', 'tif')],
)
def test_every_mode_is_that_of_the_data_sets(tmp_path, read, mode, suffix):
    path = tmp_path / f'1.{suffix}'
    stored(7).convert(mode).save(path)
    (image,) = read(path).images
    np.testing.assert_array_equal(image, bgr(decode_exact(str(path))))


DEEP = {
    'grey16.png': (np.uint16, 1, 4095, (0, 4095)),
    'full16.png': (np.uint16, 1, 65535, (0, 65535)),
    'color16.png': (np.uint16, 3, 1023, (0, 1023)),
    'color16.tif': (np.uint16, 3, 4095, (0, 4095)),
    'unit.tif': (np.float32, 1, 1.0, (0, 1)),
    'color.hdr': (np.float32, 3, 200.0, (0, 255)),
    'depth.pfm': (np.float32, 1, 200.0, (0, 255)),
}


@pytest.mark.parametrize('name', DEEP)
def test_deep_images_are_visible_in_one_range(tmp_path, read, said, name):
    kind, channels, white, expected = DEEP[name]
    stem, suffix = name.split('.')
    shape = (48, 64) if channels == 1 else (48, 64, channels)
    rng = np.random.default_rng(0)
    images = []
    for index in range(6):
        # The first ones are dark: their own range would be another one.
        values = rng.random(shape) * white * (index + 1) / 6
        images.append(values.astype(kind))
        assert cv2.imwrite(str(tmp_path / f'{stem}_{index}.{suffix}'), images[-1])
    found = read(tmp_path / f'{stem}_%d.{suffix}')
    for image, values in zip(found.images, images, strict=True):
        if suffix == 'hdr':  # it has eight bits and an exponent
            values = cv2.imread(str(tmp_path / f'{stem}_0.{suffix}'), -1)
            image = found.images[0]
        right = np.rint(values.astype(float) * 255 / expected[1])
        right = right if channels == 3 else np.dstack([right] * 3)
        assert np.abs(image - right).max() <= 1
    assert f'from {expected[0]} to {expected[1]} ' in said()[0]
    assert len(said()) == 1


def test_narrow_values_are_stretched(tmp_path, read, said):
    """A thermal camera: 1,500 values of 65,536."""
    values = np.linspace(7500, 9000, 48 * 64).reshape(48, 64).astype(np.uint16)
    values[0, 0] = 65535  # a hot pixel
    cv2.imwrite(str(tmp_path / '1.png'), values)
    (image,) = read(tmp_path / '1.png').images
    assert image.min() == 0 and image.max() == 255
    assert abs(int(image[24, 0, 0]) - 128) <= 2
    (image,) = read(tmp_path / '1.png', value_range=(0, 65535)).images
    assert np.unique(image).tolist() == [*range(29, 36), 255]


def test_what_is_no_number_is_black(tmp_path, read):
    values = np.linspace(0, 1, 48 * 64).reshape(48, 64).astype(np.float32)
    values[0] = np.nan
    values[1] = np.inf
    Image.fromarray(values).save(tmp_path / '1.tif')
    with pytest.warns(UserWarning, match='from 0 to 1 '):
        (image,) = read(tmp_path / '1.tif').images
    assert image[0].max() == 0 and image[1].min() == 255


# ---------------------------------------------------------------------- animations
@pytest.mark.parametrize('suffix', ['webp', 'png', 'gif', 'tif'])
def test_animations_give_every_image_at_its_time(tmp_path, read, suffix):
    images = [stored(i) for i in range(12)]
    durations = [40] * 6 + [80] * 6
    timed = {} if suffix == 'tif' else dict(duration=durations)
    path = tmp_path / f'a.{suffix}'
    exact = dict(lossless=True) if suffix == 'webp' else {}
    images[0].save(path, save_all=True, append_images=images[1:], **timed, **exact)
    found = read(path)
    assert found.indices == list(range(12))
    starts = [Fraction(sum(durations[:i]), 1000) for i in range(12)]
    assert found.times == ([None] * 12 if suffix == 'tif' else starts)
    if suffix == 'tif':
        assert read(path, frame_rate=5).times[5] == 1
    # A name without a suffix that tells does not matter to a pipe.
    assert found.numbers == list(range(1, 13))


def test_deep_pages_have_one_range(tmp_path, read, said):
    pages = [Image.fromarray(np.full((48, 64), 400 * i, np.uint16)) for i in range(10)]
    pages[0].save(tmp_path / 'a.tif', save_all=True, append_images=pages[1:])
    found = read(tmp_path / 'a.tif')
    assert [int(i[0, 0, 0]) for i in found.images] == [
        round(400 * i * 255 / 4095) for i in range(10)
    ]
    assert '10 of 10' in said()[0]


def test_previews_of_a_phone_are_no_frames(tmp_path, read):
    images = [stored(3), stored(4, (32, 24))]
    images[0].save(tmp_path / 'p.jpg', 'MPO', save_all=True, append_images=images[1:])
    assert len(read(tmp_path / 'p.jpg').images) == 1


# ------------------------------------------------------------------------ patterns
@pytest.mark.parametrize(
    ('pattern', 'names', 'expected'),
    [
        ('f%06d.png', ['f000007.png', 'f000008.png', 'f00009.png'], [7, 8]),
        ('f%d.png', ['f9.png', 'f10.png', 'f11.png', 'g1.png'], [9, 10, 11]),
        ('%03d_a%%.png', ['001_a%.png', '1000_a%.png'], [1, 16]),
        ('f*.png', ['f2.png', 'f10.png', 'other.png'], [2, 10]),
    ],
)
def test_patterns(tmp_path, read, pattern, names, expected):
    numbers = dict(zip(sorted(expected), sorted(expected), strict=True))
    for name in names:
        digits = ''.join(c for c in name if c.isdecimal()) or '0'
        number = 16 if int(digits) == 1000 else int(digits)
        stored(numbers.get(number, 20)).save(tmp_path / name)
    found = read(tmp_path / pattern)
    assert found.indices == expected
    assert found.numbers == list(range(1, len(expected) + 1))


def test_lists_of_images_of_unlike_sizes(tmp_path, read):
    paths = []
    for index, size in enumerate([(64, 48), (96, 48), (30, 71)]):
        paths.append(tmp_path / f'{9 - index}.png')
        stored(index, size).save(paths[-1])
    found = read(paths)
    assert found.indices == [0, 1, 2]
    assert [i.shape[:2] for i in found.images] == [(48, 64), (48, 96), (71, 30)]
    with pytest.raises(FileNotFoundError, match=r'missing\.png'):
        open_source([*paths, tmp_path / 'missing.png'])
    with pytest.raises(FileNotFoundError, match='an empty list'):
        open_source([])


def test_broken_images_are_crossed_and_counted(tmp_path, read):
    for index in range(6):
        stored(index).save(tmp_path / f'{index}.png')
    for index in (0, 3):
        data = (tmp_path / f'{index}.png').read_bytes()
        (tmp_path / f'{index}.png').write_bytes(data[: len(data) // 2])
    with pytest.raises(OSError, match=r'0\.png'):
        read(tmp_path)
    with pytest.warns(UserWarning, match=r'frame 4 of 6: .*3\.png'):
        found = read(tmp_path, skip_broken=True)
    assert (found.numbers, found.source.skipped) == ([2, 3, 5, 6], 2)
    assert found.indices == [1, 2, 4, 5]


def test_a_sequence_has_the_rate_of_its_file(tmp_path, read):
    (tmp_path / 's' / 'img1').mkdir(parents=True)
    for index in range(3):
        stored(index).save(tmp_path / 's' / 'img1' / f'{index + 1:06}.png')
    (tmp_path / 's' / 'seqinfo.ini').write_text('[Sequence]\nframeRate=20\n')
    for source in (tmp_path / 's', tmp_path / 's' / 'img1'):
        assert read(source).times == [0, 1 / 20, 2 / 20]


def test_openexr(tmp_path, read):
    values = np.linspace(0, 3, 48 * 64 * 3).reshape(48, 64, 3).astype(np.float32)
    path = tmp_path / 'a.exr'
    with av.open(str(path), 'w', format='image2', options={'update': '1'}) as file:
        stream = file.add_stream('exr', rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'gbrpf32le'
        frame = av.VideoFrame.from_ndarray(values, 'gbrpf32le')
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    (image,) = read(path, value_range=(0, 3)).images
    assert np.abs(image - np.rint(values[..., ::-1] * 85)).max() <= 1
