# Copyright (c) mmfdta authors.
"""Inputs of the transformer are those of MMDetection, to the last digit."""

import pytest
import torch
from mmdet.models.detectors import DeformableDETR
from mmdet.models.layers import DeformableDetrTransformerEncoder
from mmdet.structures import DetDataSample

from mmfdta.models.detectors.base import token_points
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
        assert mine.keys() == theirs.keys()
        for name, value in theirs.items():
            assert value is None or (
                mine[name].dtype == value.dtype and mine[name].equal(value)
            ), name
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
