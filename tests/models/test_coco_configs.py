# Copyright (c) mmfdta authors.
"""The configs on COCO's YOLOX hold MMDetection's detectors and feed them the same."""

from pathlib import Path

import mmdet
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config

import mmfdta.registry  # noqa: F401
from mmfdta.apis.config import find_config
from mmfdta.apis.config_check import check_config
from mmfdta.apis.frame_preprocessing import FramePreprocessor, collate_frames

THEIRS = Path(mmdet.__file__).parent / '.mim' / 'configs' / 'yolox'
SIZES = ('nano', 'tiny', 's', 'x')


def read_pair(size):
    theirs = Config.fromfile(THEIRS / f'yolox_{size}_8xb8-300e_coco.py')
    return Config.fromfile(find_config(f'bytetrack_yolox-{size}_coco')), theirs


@pytest.mark.parametrize('size', SIZES)
def test_weights_are_those_of_mmdetection(size):
    ours, theirs = read_pair(size)
    check_config(ours)
    with torch.device('meta'):
        shapes = [
            {
                name: value.shape
                for name, value in MODELS.build(model).state_dict().items()
            }
            for model in (ours.model.detector, theirs.model)
        ]
    assert len(shapes[0]) > 400 and shapes[0] == shapes[1]


def test_classes_are_those_of_coco_and_numbered_from_1():
    config, _ = read_pair('nano')
    dataset = config.test_dataloader.dataset
    assert tuple(dataset.metainfo.classes) == CocoDataset.METAINFO['classes']
    assert dict(dataset.category_map) == {n: n - 1 for n in range(1, 81)}


def test_boxes_are_those_of_mmdetection():
    """On a frame that needs no resizing, and one that needs padding."""
    torch.manual_seed(0)
    ours, theirs = read_pair('nano')
    ours.test_dataloader.dataset.pipeline[0].transforms[1].update(short=96, max_long=96)
    model = MODELS.build(ours.model).eval()
    # Random weights are never sure; a threshold between their scores would be fragile.
    theirs.model.test_cfg.nms.class_agnostic = True
    theirs.model.test_cfg.score_thr = model.detector.test_cfg.score_thr = 0.0
    detector = MODELS.build(theirs.model).eval()
    detector.load_state_dict(model.detector.state_dict())
    prepare = FramePreprocessor(ours)
    for width in (96, 80):
        image = np.random.default_rng(1).integers(0, 256, (96, width, 3), np.uint8)
        batch = collate_frames([prepare(image, 0)])
        data = model.data_preprocessor(batch)
        with torch.no_grad():
            (found,) = model.detect(data['inputs']['img'][0], data['data_samples'][0])
            padded = np.full((96, 96, 3), 114, np.uint8)  # their step Pad
            padded[:, :width] = image
            meta = dict(
                img_shape=(96, width), ori_shape=(96, width), scale_factor=(1, 1)
            )
            sample = DetDataSample(metainfo=meta)
            inputs = [torch.from_numpy(padded).permute(2, 0, 1)]
            data = detector.data_preprocessor(
                dict(inputs=inputs, data_samples=[sample])
            )
            (expected,) = detector.predict(data['inputs'], data['data_samples'])
        found, expected = found.pred_instances, expected.pred_instances
        assert len(found) > 50
        assert torch.equal(found.labels, expected.labels)
        torch.testing.assert_close(found.scores, expected.scores)
        torch.testing.assert_close(found.bboxes, expected.bboxes, atol=1e-3, rtol=0)
