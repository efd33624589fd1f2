# Copyright (c) mmfdta authors.
"""Padding and normalisation of clips."""

import torch
from small_fdta import collate, make_clip

from mmfdta.models import ClipDataPreprocessor

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def test_values_and_padding():
    clips = [make_clip(size=(20, 32)), make_clip(size=(24, 16), seed=1)]
    batch = ClipDataPreprocessor(MEAN, STD, pad_size_divisor=16)(collate(*clips))
    images, depth = batch['inputs']['img'], batch['inputs']['depth']
    assert images.shape == (2, 4, 3, 32, 32)
    assert depth.shape == (2, 4, 1, 32, 32)
    for i, clip in enumerate(clips):
        source = clip['inputs']['img']
        height, width = source.shape[-2:]
        mean, std = (torch.tensor(x).view(3, 1, 1) for x in (MEAN, STD))
        expected = (source.double() - mean) / std
        found = images[i, ..., :height, :width].double()
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        assert torch.equal(
            depth[i, ..., :height, :width], clip['inputs']['depth'].float()
        )
        for padded in (images[i], depth[i]):
            assert not padded[..., height:, :].any()
            assert not padded[..., width:].any()
    for clip in batch['data_samples']:
        assert all(frame.batch_input_shape == (32, 32) for frame in clip)


def test_inputs_are_left_alone():
    clip = make_clip()
    clip['inputs']['img'] = clip['inputs']['img'].float()
    before = clip['inputs']['img'].clone()
    ClipDataPreprocessor(MEAN, STD)(collate(clip))
    assert torch.equal(clip['inputs']['img'], before)
