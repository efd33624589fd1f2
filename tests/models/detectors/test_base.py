# Copyright (c) mmfdta authors.
"""Inputs of the transformer are those of MMDetection, to the last digit."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.detectors import DeformableDETR
from mmdet.models.layers import DeformableDetrTransformerEncoder
from mmdet.structures import DetDataSample

from mmfdta.models.detectors.base import nearest_pixels, token_points
from tests.models.small_fdta import CHANNELS, build, small_config

FRAMES = {
    'whole': ((64, 96), [(64, 96), (64, 96)]),
    'padded': ((64, 96), [(64, 96), (51, 96), (64, 7)]),
    'odd': ((61, 97), [(60, 97), (1, 1), (61, 96), (33, 50)]),
}


@pytest.fixture(scope='module')
def detector():
    return build(small_config()).detector.eval()


def levels(shape, frames):
    """Feature maps as backbones round them: halves are rounded up."""
    sizes = [shape]
    for _ in range(6):
        sizes.append(tuple(-(-n // 2) for n in sizes[-1]))
    return tuple(torch.randn(frames, CHANNELS, *size) for size in sizes[3:])


@pytest.mark.parametrize('case', FRAMES)
def test_the_transformers_inputs_are_those_of_mmdetection(detector, case):
    shape, sizes = FRAMES[case]
    frames = [
        DetDataSample(metainfo=dict(img_shape=size, batch_input_shape=shape))
        for size in sizes
    ]
    feats = levels(shape, len(frames))
    expected = DeformableDETR.pre_transformer(detector, feats, frames)
    found = detector.pre_transformer(feats, frames)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.pop('level_shapes') == tuple(f.shape[2:] for f in feats)
        mine.pop('depth', None)
        known = mine.pop('reference_points', None)
        assert mine.keys() == theirs.keys()
        for name, value in theirs.items():
            if value is None:
                assert mine[name] is None, name
                continue
            # Positions of whole frames are there once for all of them.
            assert mine[name].dtype == value.dtype, name
            assert mine[name].expand_as(value).equal(value), name
        if case == 'whole' and known is not None:
            points = token_points(
                mine['valid_ratios'], tuple(f.shape[2:] for f in feats)
            )
            assert known.expand_as(points).equal(points)
    shapes, ratios = (expected[0][n] for n in ('spatial_shapes', 'valid_ratios'))
    points = DeformableDetrTransformerEncoder.get_encoder_reference_points(
        shapes, ratios, 'cpu'
    )
    assert token_points(ratios, tuple(map(tuple, shapes.tolist()))).equal(points)


def test_a_network_on_tensors_is_the_detector(detector):
    shape, sizes = FRAMES['padded']
    frames = [
        DetDataSample(metainfo=dict(img_shape=size, batch_input_shape=shape))
        for size in sizes
    ]
    imgs = torch.randn(3, 3, *shape)
    with torch.no_grad():
        expected = vars(detector.detect(imgs, frames))
        found = vars(detector.network(imgs, torch.tensor(sizes)))
        whole = vars(detector.network(imgs[:1]))
        transformed = detector.forward_transformer(detector.extract_feat(imgs), frames)
        by_mmdetection = vars(detector.bbox_head(**transformed))
    for name, value in expected.items():
        assert found[name].equal(value) and by_mmdetection[name].equal(value)
        dim = {'cls_scores': 1, 'bbox_preds': 1}.get(name, 0)
        torch.testing.assert_close(whole[name], value.narrow(dim, 0, 1))


def test_what_is_kept_of_a_size_is_that_of_the_size():
    """Positions and points of frames that follow in other sizes, types and modes."""
    detector = build(small_config()).eval().detector
    for size, count in (((64, 96), 2), ((64, 96), 1), ((96, 64), 1), ((64, 96), 3)):
        images = torch.randn(count, 3, *size)
        fresh = copy.deepcopy(detector)
        assert not fresh._whole_frames
        with torch.inference_mode():
            found, expected = detector.detect(images), fresh.detect(images)
        assert found.bbox_preds.equal(expected.bbox_preds)
        assert found.embeddings.equal(expected.embeddings)
        feats = detector.extract_feat(images)
        encoder_inputs, _ = detector.prepare(feats)
        ratios = encoder_inputs['valid_ratios']
        points = token_points(ratios, encoder_inputs['level_shapes'])
        assert encoder_inputs['reference_points'].expand_as(points).equal(points)
        positions, _ = detector.whole_frames(feats)
        for feat, position in zip(feats, positions, strict=True):
            wanted = detector.positional_encoding(None, input=feat)
            assert position.expand_as(wanted).equal(wanted)
    # What inference has kept can be trained on.
    detector.train().detect(torch.randn(1, 3, 64, 96)).bbox_preds.sum().backward()
    assert detector.level_embed.grad is not None


def test_boxes_without_gradients_are_those_with_them():
    """They are taken from the decoder, and else computed by the head again."""
    detector = build(small_config()).eval().detector
    with torch.no_grad():
        for parameter in detector.bbox_head.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        images = torch.randn(2, 3, 64, 96)
        found = detector.detect(images)
    expected = detector.detect(images)
    assert found.bbox_preds.equal(expected.bbox_preds)
    assert found.cls_scores.equal(expected.cls_scores)


def test_nearest_pixels_are_those_of_pytorch():
    """In rows of up to 200 pixels, at all lengths, and in some long ones."""
    pairs = [(full, n) for full in range(1, 200) for n in range(1, full + 1)]
    for full in (800, 1080, 1333, 1440, 1919):
        for stride in (8, 16, 32, 64):
            pairs += [(full, -(-full // stride)), (full, full // stride)]
    for full, count in pairs:
        row = torch.arange(full, dtype=torch.float32)[None, None]
        expected = F.interpolate(row, size=count)[0, 0]
        assert nearest_pixels(full, count, row.device).equal(expected), (full, count)
