# Copyright (c) mmfdta authors.
"""The graph's first step gives what the model's data preprocessor gives."""

import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor, TrackDataPreprocessor
from mmdet.structures import DetDataSample, TrackDataSample

from mmfdta.apis.export.normalization import FrameNormalization
from mmfdta.models.data_preprocessors import ClipDataPreprocessor

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def make_frames(height: int = 37, width: int = 50) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 3, height, width), generator=rng)
    return pixels.to(torch.uint8)


def run(preprocessor, frames):
    """What the model gets of a clip of these frames."""
    sample = TrackDataSample()
    shape = tuple(frames.shape[-2:])
    sample.video_data_samples = [
        DetDataSample(metainfo=dict(img_shape=shape)) for _ in frames
    ]
    on_clips = isinstance(preprocessor, ClipDataPreprocessor)
    inputs = dict(img=[frames]) if on_clips else [frames]
    made = preprocessor(dict(inputs=inputs, data_samples=[sample]))['inputs']
    return (made['img'] if on_clips else made).flatten(0, 1)


@pytest.mark.parametrize(
    'preprocessor',
    [
        ClipDataPreprocessor(),
        ClipDataPreprocessor(bgr=True, mean=[1, 2, 3], std=[4, 5, 6]),
        ClipDataPreprocessor(pad_size_divisor=32),
        TrackDataPreprocessor(**IMAGENET, bgr_to_rgb=True, pad_size_divisor=8),
        TrackDataPreprocessor(),
    ],
    ids=['rgb', 'bgr', 'padded', 'mmdet', 'mmdet-raw'],
)
def test_pixels_become_what_the_network_takes(preprocessor):
    frames = make_frames()
    expected = run(preprocessor, frames)
    flips = getattr(preprocessor, 'bgr', False) or getattr(
        preprocessor, '_channel_conversion', False
    )
    found, sizes = FrameNormalization(preprocessor)(frames.flip(1) if flips else frames)
    assert torch.equal(found, expected)
    padded = found.shape[-2:] != frames.shape[-2:]
    assert (sizes.tolist() == [[37, 50]] * 2) if padded else sizes is None


def test_grey_padding_comes_with_the_frame():
    """YOLOX's 114 becomes what the preprocessor pads with."""
    preprocessor = ClipDataPreprocessor(pad_size_divisor=32, pad_value=114, **IMAGENET)
    frames = make_frames()
    padded = torch.full((2, 3, 64, 64), 114, dtype=torch.uint8)
    padded[..., :37, :50] = frames
    found, sizes = FrameNormalization(preprocessor)(padded)
    assert sizes is None
    torch.testing.assert_close(found, run(preprocessor, frames), rtol=0, atol=2e-7)


def test_padding_of_a_fixed_size_is_exactly_zero():
    frames = make_frames(64, 64)
    sizes = torch.tensor([[37, 50], [64, 12]])
    normalize = FrameNormalization(ClipDataPreprocessor())
    found, same = normalize(frames, sizes)
    whole, _ = normalize(frames)
    assert same is sizes
    for image, all_of_it, (height, width) in zip(found, whole, sizes, strict=True):
        inside = image[:, :height, :width]
        assert torch.equal(inside, all_of_it[:, :height, :width])
        assert image.count_nonzero() == inside.count_nonzero()


def test_other_preprocessors_are_refused_in_a_line():
    with pytest.raises(ValueError, match='data_preprocessor.type: found Det') as error:
        FrameNormalization(DetDataPreprocessor())
    assert '\n' not in str(error.value)
    with pytest.raises(ValueError, match='pad_value: found 7, expected 0'):
        FrameNormalization(TrackDataPreprocessor(**IMAGENET, pad_value=7))
