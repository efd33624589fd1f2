# Copyright (c) mmfdta authors.
"""Embeddings out of a detector's maps, against RoI align and hand-made maps."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import mmcv.ops
import pytest
import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import nn

from mmfdta.apis.detection_store import detection_fingerprint
from mmfdta.models import PooledEmbeddings, TrackingByDetection
from mmfdta.utils import mmcv_ext

CONFIGS = Path(__file__).parents[3] / 'configs'

SHAPE = (64, 96)
BOXES = torch.tensor(
    [[4.0, 2, 30, 60], [50, 10, 61, 33], [0, 0, 96, 64], [70, 40, 70, 40]]
)


def frame(boxes, img_shape=SHAPE, scale=(1.0, 1.0)) -> DetDataSample:
    sample = DetDataSample(metainfo=dict(img_shape=img_shape, scale_factor=scale))
    sample.pred_instances = InstanceData(bboxes=torch.as_tensor(boxes).reshape(-1, 4))
    return sample


def embed(module, maps, frames, shape=SHAPE):
    return module(maps, torch.zeros(len(frames), 3, *shape), frames)


def test_they_are_roi_align_of_normalised_maps(monkeypatch):
    """`test_roi_align.py` holds that to loops over samples."""
    roi_align = importlib.import_module('mmcv.ops.roi_align')
    monkeypatch.setattr(roi_align, 'ext_module', mmcv_ext.make_stand_in('a test'))
    maps = [torch.randn(1, 5, 16, 24) * 3 + 1, torch.randn(1, 2, 8, 12)]
    expected = []
    for level, stride in zip(maps, (4, 8), strict=True):
        flat = level[0].flatten(1).double()
        level = (level[0].double() - flat.mean(1)[:, None, None]) / (
            flat.var(1, correction=0).sqrt()[:, None, None]
        )
        rois = F.pad(BOXES, (1, 0)).double()
        # Cells of which each has one sample.
        cells = mmcv.ops.roi_align(level[None], rois, (6, 6), 1 / stride, 1)
        stripes = cells.unflatten(2, (3, 2)).mean((3, 4))
        expected.append(F.normalize(stripes.transpose(1, 2).flatten(1), dim=1))
    expected = F.normalize(torch.cat(expected, 1), dim=1)
    module = PooledEmbeddings(['one', 'other'], stripes=3)
    (found,) = embed(module, maps, [frame(BOXES)])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_stripes_and_places():
    """Three people: two alike, one with the colours turned round."""
    level = torch.zeros(1, 1, 16, 24)
    level[..., 4:8, 2:6] = level[..., 4:8, 12:16] = 1  # legs are at rows 8 to 12
    level[..., 8:12, 18:22] = 1
    boxes = [[x * 4.0, 16, x * 4 + 16, 48] for x in (2, 12, 18)]
    (found,) = embed(PooledEmbeddings('a', stripes=2), [level], [frame(boxes)])
    likeness = found @ found.T
    assert likeness[0, 1] > 0.999
    assert likeness[0, 2] < 0
    # One stripe does not tell them apart.
    (found,) = embed(PooledEmbeddings('a', stripes=1), [level], [frame(boxes)])
    assert (found @ found.T)[0, 2] > 0.999


def test_frames_of_a_batch_do_not_see_each_other_nor_the_padding():
    module = PooledEmbeddings('a')
    small, large = torch.randn(1, 4, 8, 12), torch.randn(1, 4, 16, 24)
    boxes = [[3.0, 2, 20, 30], [30, 4, 44, 26]]
    (alone,) = embed(module, [small], [frame(boxes, (32, 48))], (32, 48))
    padded = torch.full((1, 4, 16, 24), 7.0)
    padded[..., :8, :12] = small
    # The original is twice as large.
    doubled = frame(2 * torch.tensor(boxes), (32, 48), (0.5, 0.5))
    frames = [frame([]), frame(BOXES), doubled]
    found = embed(module, [torch.cat([large, large, padded])], frames)
    assert [tuple(part.shape) for part in found] == [(0, 24), (4, 24), (2, 24)]
    torch.testing.assert_close(found[2], alone, rtol=1e-4, atol=1e-5)


def test_boxes_beyond_the_frame_and_frames_of_one_colour():
    module = PooledEmbeddings('a', stripes=1)
    level = torch.randn(1, 4, 16, 24)
    boxes = [[-30.0, -9, 30, 60], [0, 0, 30, 60], [200, 200, 300, 300]]
    (found,) = embed(module, [level], [frame(boxes)])
    assert torch.equal(found[0], found[1])
    assert found.isfinite().all()
    (found,) = embed(module, [torch.ones(1, 4, 16, 24)], [frame(boxes)])
    assert torch.equal(found, torch.zeros(3, 4))


@pytest.fixture
def on_yolox():
    config = Config.fromfile(CONFIGS / 'iou-embedding_yolox-nano_coco.py').model
    config.detector.test_cfg.score_thr = 0.0
    model = _build(config)
    with torch.no_grad():
        for head in (*model.detector.bbox_head.multi_level_conv_obj,):
            head.bias.fill_(1.0)
    return model


def _build(config) -> TrackingByDetection:
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(config).eval()


@torch.no_grad()
def test_a_detector_finds_the_same_with_them(on_yolox):
    imgs = 255 * torch.rand(2, 3, *SHAPE)

    def detect():
        meta = dict(img_shape=SHAPE, ori_shape=SHAPE, scale_factor=(1.0, 1.0))
        frames = [DetDataSample(metainfo=dict(meta, frame_id=i)) for i in (0, 1)]
        return [f.pred_instances for f in on_yolox.detect(imgs, frames)]

    found = detect()
    assert not on_yolox.detector.backbone.stage1._forward_hooks
    assert not on_yolox.embeddings.state_dict()
    with torch.autocast('cpu', torch.bfloat16):
        assert {part.embeddings.dtype for part in detect()} == {torch.float32}
    on_yolox.embeddings = None
    for with_them, plain in zip(found, detect(), strict=True):
        assert len(plain) > 5
        assert torch.equal(with_them.bboxes, plain.bboxes)
        assert with_them.embeddings.shape == (len(plain), 6 * 32)
        lengths = with_them.embeddings.norm(dim=1)
        torch.testing.assert_close(lengths, torch.ones(len(plain)))


def test_kept_detections_are_those_of_one_way_to_embed(on_yolox):
    data = SimpleNamespace(pipeline=SimpleNamespace(transforms=[]))

    def name_with(embeddings):
        on_yolox.embeddings = embeddings
        return detection_fingerprint(on_yolox, data)

    names = [
        name_with(None),
        *(name_with(PooledEmbeddings('a', n)) for n in (2, 3, 2)),
        name_with(PooledEmbeddings('b', 2)),
    ]
    assert names[1] == names[3]
    assert len(set(names)) == 4


@pytest.mark.parametrize(
    ('layer', 'message'),
    [
        ('backbone.layer1', r'backbone\.layer1, which YOLOX does not have; .*stage1'),
        ('stage1', r'stage1, which YOLOX does not have; it has .*backbone'),
        ('backbone', r'backbone gave tuple, expected a tensor'),
    ],
)
def test_layers_that_are_not_there(on_yolox, layer: str, message: str):
    module = PooledEmbeddings(layer)
    with (
        pytest.raises(ValueError, match=message),
        module.watch(on_yolox.detector),
        torch.no_grad(),
    ):
        on_yolox.detector.extract_feat(torch.zeros(1, 3, *SHAPE))


@pytest.mark.parametrize(
    'settings', [dict(layers=[]), dict(stripes=0)], ids=['layers', 'stripes']
)
def test_settings_that_give_nothing(settings: dict):
    with pytest.raises(ValueError, match=f'embeddings.{next(iter(settings))}: found'):
        PooledEmbeddings(**settings)


def test_a_detector_that_fails_says_so_itself():
    """And not that it gave no maps."""
    detector = nn.Sequential(nn.Linear(1, 1))
    with pytest.raises(RuntimeError), PooledEmbeddings('0').watch(detector):
        detector(torch.zeros(1, 5))
