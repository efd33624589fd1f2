# Copyright (c) mmfdta authors.
"""One picture in every form that `step` takes is one picture."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmfdta.apis.frame_inputs import to_bgr

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
BGR = np.ascontiguousarray(RGB[..., ::-1])
ALPHA = np.full((5, 7, 1), 9, np.uint8)
GREY = RGB[..., 0]
CHW = torch.from_numpy(RGB).permute(2, 0, 1)


@pytest.mark.parametrize(
    ('frame', 'rgb'),
    [
        (RGB, True),
        (BGR, False),
        (np.concatenate([RGB, ALPHA], axis=2), True),
        (np.concatenate([BGR, ALPHA], axis=2), False),
        (CHW, True),
        (CHW.flip(0), False),
        (torch.from_numpy(RGB), True),
        (CHW.float() / 255, True),
        (CHW.double() / 255, True),
        (torch.cat([CHW, torch.zeros(1, 5, 7, dtype=torch.uint8)]), True),
        (Image.fromarray(RGB), True),
        (Image.fromarray(RGB), False),
        (Image.fromarray(np.concatenate([RGB, ALPHA], axis=2)), False),
    ],
)
def test_colours_arrive_as_blue_green_red(frame, rgb):
    image = to_bgr(frame, rgb)
    np.testing.assert_array_equal(image, BGR)
    assert image.dtype == np.uint8 and image.flags.c_contiguous


@pytest.mark.parametrize(
    'frame',
    [
        GREY,
        GREY[..., None],
        torch.from_numpy(GREY),
        torch.from_numpy(GREY)[None],
        Image.fromarray(GREY),
    ],
)
@pytest.mark.parametrize('rgb', [True, False])
def test_grey_is_grey(frame, rgb):
    np.testing.assert_array_equal(to_bgr(frame, rgb), np.dstack([GREY] * 3))


@pytest.mark.parametrize(
    ('frame', 'message'),
    [
        (np.zeros((4, 4, 3), np.float32), r'float32 \(4, 4, 3\), expected uint8'),
        (np.zeros((4, 4, 3), np.uint16), 'uint16'),
        (np.zeros((4, 4, 2), np.uint8), r'\(4, 4, 2\)'),
        (np.zeros((1, 4, 4, 3), np.uint8), r'\(1, 4, 4, 3\)'),
        (np.zeros((0, 4, 3), np.uint8), 'empty'),
        (torch.full((3, 4, 4), 255.0), 'from 255 to 255, expected floats from 0 to 1'),
        (torch.full((3, 4, 4), float('nan')), 'expected floats from 0 to 1'),
        (torch.zeros(2, 3, 4, 4), r'\(2, 3, 4, 4\)'),
        (torch.zeros(3, 4, 4, dtype=torch.int64), 'int64'),
        (Image.new('I;16', (4, 4)), 'mode I;16'),
        ('video.mp4', r'str.*track\(\)'),
        (None, 'NoneType'),
    ],
)
def test_what_is_no_frame_is_refused(frame, message):
    with pytest.raises(ValueError, match=message):
        to_bgr(frame)
