# Copyright (c) mmfdta authors.
"""Padding and normalisation of clips."""

import pytest
import torch
from small_fdta import collate, make_clip

from mmfdta.models import ClipDataPreprocessor, TrackerDataPreprocessor

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


@pytest.mark.parametrize('place', [0, 1])
def test_a_clip_without_depth_is_nan_next_to_others(place: int):
    clips = [make_clip(size=(20, 32)), make_clip(size=(24, 16), seed=1)]
    preprocess = ClipDataPreprocessor(MEAN, STD, pad_size_divisor=16)
    expected = preprocess(collate(*clips))['inputs']
    clips[place]['inputs']['depth'] = None
    found = preprocess(collate(*clips))['inputs']
    assert torch.equal(found['img'], expected['img'])
    assert found['depth'].shape == expected['depth'].shape
    assert found['depth'][place].isnan().all()
    assert torch.equal(found['depth'][1 - place], expected['depth'][1 - place])
    clips[1 - place]['inputs']['depth'] = None
    assert 'depth' not in preprocess(collate(*clips))['inputs']


def test_inputs_are_left_alone():
    clip = make_clip()
    clip['inputs']['img'] = clip['inputs']['img'].float()
    before = clip['inputs']['img'].clone()
    ClipDataPreprocessor(MEAN, STD)(collate(clip))
    assert torch.equal(clip['inputs']['img'], before)
    assert 'batch_input_shape' not in clip['data_samples'][0]


def test_annotations_are_handed_on_as_they_are():
    clip = make_clip()
    (found,) = ClipDataPreprocessor(MEAN, STD)(collate(clip))['data_samples']
    for frame, source in zip(found, clip['data_samples'], strict=True):
        assert torch.equal(frame.gt_instances.bboxes, source.gt_instances.bboxes)
    (targets,), (source,) = found.id_targets, clip['data_samples'].id_targets
    assert torch.equal(targets.unknown_ann_idxs, source.unknown_ann_idxs)


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
    preprocess = ClipDataPreprocessor(
        bgr=bgr, pad_value=114, mean=MEAN, std=STD, pad_size_divisor=32
    )
    found = preprocess(collate(clip))['inputs']['img'][0].double()
    torch.testing.assert_close(found, (padded - mean) / std, atol=1e-5, rtol=1e-5)


def test_clips_of_different_lengths_are_refused():
    long, short = make_clip(), make_clip()
    for name in ('img', 'depth'):
        short['inputs'][name] = short['inputs'][name][:1]
    with pytest.raises(ValueError, match=r'clips of \[4, 1\] frames'):
        ClipDataPreprocessor()(collate(long, short))
