# Copyright (c) mmfdta authors.
"""The tensor that MMDetection's trackers take."""

import pytest
import torch
from small_fdta import collate, make_clip

from mmfdta.models import ClipDataPreprocessor, TrackerDataPreprocessor

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def test_the_pixels_are_those_of_fdta():
    clip = make_clip(size=(20, 32))
    settings = dict(mean=MEAN, std=STD, pad_size_divisor=16)
    expected = ClipDataPreprocessor(**settings)(collate(clip))
    found = TrackerDataPreprocessor(**settings)(collate(clip))
    assert torch.equal(found['inputs'], expected['inputs']['img'])
    for frame in found['data_samples'][0]:
        assert frame.batch_input_shape == (32, 32)


@pytest.mark.parametrize('bgr', [False, True])
def test_padding_is_a_pixel_value(bgr: bool):
    """As if the image had been padded first and normalised then."""
    clip = make_clip(size=(20, 32))
    source = clip['inputs']['img'].double()
    padded = torch.full((len(source), 3, 32, 32), 114.0, dtype=torch.float64)
    padded[..., :20, :] = source[:, [2, 1, 0]] if bgr else source
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (MEAN, STD))
    preprocess = TrackerDataPreprocessor(
        bgr=bgr, pad_value=114, mean=MEAN, std=STD, pad_size_divisor=32
    )
    found = preprocess(collate(clip))['inputs'][0].double()
    torch.testing.assert_close(found, (padded - mean) / std, atol=1e-5, rtol=1e-5)
