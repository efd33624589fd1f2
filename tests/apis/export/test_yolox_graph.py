# Copyright (c) mmfdta authors.
"""YOLOX in ONNX, with its boxes chosen on arrays, detects the same as in PyTorch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from recorded import Recorded
from torch import Tensor, nn

from mmfdta.apis.export import detector_graph, operators
from mmfdta.models.detectors.yolox import find_on_host
from mmfdta.runtime.detection import yolox_detections

CONFIGS = Path(__file__).parents[3] / 'configs'
# Frames after resizing, without padding, and as they were.
RESIZED, ORIGINAL = [(90, 118), (64, 128)], [(180, 236), (200, 400)]


@pytest.fixture(scope='module')
def model() -> nn.Module:
    """ByteTrack on a small YOLOX that finds many boxes of all classes."""
    torch.manual_seed(0)
    config = Config.fromfile(CONFIGS / 'bytetrack_yolox-nano_coco.py')
    detector = config.model.detector
    detector.backbone.update(use_depthwise=False, widen_factor=0.125)
    detector.neck.update(
        use_depthwise=False, in_channels=[32, 64, 128], out_channels=16
    )
    detector.bbox_head.update(
        use_depthwise=False, num_classes=3, in_channels=16, feat_channels=16
    )
    model = MODELS.build(config.model)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=1.2 / module.weight[0].numel() ** 0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    detector, head = model.eval().detector, model.detector.bbox_head
    with torch.no_grad():
        levels = head(detector.extract_feat(128 + 50 * torch.randn(2, 3, 96, 128)))
        # Scores and sizes that spread, and none that saturates.
        for kind, values, spread in zip(
            ('cls', 'reg', 'obj'), levels, (2.0, 0.5, 2.0), strict=True
        ):
            convs = getattr(head, f'multi_level_conv_{kind}')
            for conv, value in zip(convs, values, strict=True):
                conv.weight *= spread / value.std()
    return model


@pytest.fixture(scope='module')
def recorded(model) -> Recorded:
    return Recorded(detector_graph(model))


def test_the_graph_takes_any_size_and_any_number_of_frames(recorded):
    counts = operators(recorded.proto)
    assert not [n for n in counts if '.' in n or n == 'GridSample']
    rng = torch.Generator().manual_seed(0)
    for shape in ((1, 3, 32, 96), (3, 3, 96, 64)):
        frames = torch.randint(0, 256, shape, generator=rng).to(torch.uint8)
        apart = recorded.differences(dict(frames=frames))
        assert apart['boxes'] < 1e-3
        assert apart['scores'] < 1e-5
        assert apart['labels'] == 0


def frames_of(index: int) -> tuple[np.ndarray, DetDataSample, Tensor]:
    """Padded pixels as the runtime gives them, and PyTorch's frame and pixels."""
    rng = np.random.default_rng(index)
    height, width = RESIZED[index]
    image = rng.integers(0, 256, (3, height, width), dtype=np.uint8)
    divisor = 32
    padded = np.full((3, -(-height // divisor) * divisor, 128), 114, np.uint8)
    padded[:, :height, :width] = image
    old = ORIGINAL[index]
    frame = DetDataSample(
        metainfo=dict(
            img_shape=(height, width),
            ori_shape=old,
            scale_factor=(width / old[1], height / old[0]),
        )
    )
    return padded, frame, torch.from_numpy(image)


@torch.no_grad()
@pytest.mark.parametrize('agnostic', [True, False])
def test_detections_are_pytorch_s(model, recorded, agnostic):
    """The network wants blue first, which is how the runtime gives frames."""
    cfg = model.detector.bbox_head.test_cfg
    cfg.nms.class_agnostic = agnostic
    test_cfg = detector_graph(model).test_cfg
    assert test_cfg['nms']['class_agnostic'] is agnostic
    for index in range(2):
        padded, frame, image = frames_of(index)
        data = dict(inputs=dict(img=[image.flip(0)[None]]))
        imgs = model.data_preprocessor(data)['inputs']['img'][:, 0]
        (theirs,) = find_on_host(model.detector, imgs, [frame])
        found = recorded.session.run(None, dict(frames=padded[None]))
        outputs = dict(zip(('boxes', 'scores', 'labels'), found, strict=True))
        (mine,) = yolox_detections(
            outputs, [RESIZED[index]], [ORIGINAL[index]], test_cfg
        )
        assert len(mine.scores) > 10
        assert len(np.unique(mine.labels)) == 3
        np.testing.assert_array_equal(mine.labels, theirs.labels)
        np.testing.assert_allclose(mine.scores, theirs.scores, atol=1e-5)
        np.testing.assert_allclose(mine.bboxes, theirs.bboxes, atol=0.01)


def test_suppression_that_needs_pytorch_is_refused(model):
    cfg = model.detector.bbox_head.test_cfg
    before = cfg.nms.type
    try:
        cfg.nms.type = 'soft_nms'
        with pytest.raises(ValueError, match=r'model\.detector\.test_cfg\.nms\.type'):
            detector_graph(model)
    finally:
        cfg.nms.type = before
