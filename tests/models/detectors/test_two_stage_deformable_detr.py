# Copyright (c) mmfdta authors.
"""Two-stage Deformable DETR at any width: MMDetection's own where that one runs."""

from pathlib import Path

import pytest
import torch
from mmdet.models.detectors import DeformableDETR
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import mmfdta.registry  # noqa: F401

CONFIG = Path(__file__).parents[3] / 'configs' / 'deformable-detr-two-stage_mini.py'
SIZE = 96, 64


def build(width: int | None = None, **changes: str) -> DeformableDETR:
    init_default_scope('mmdet')
    model = Config.fromfile(CONFIG).model
    model.update(changes)
    if width is not None:
        model.neck.out_channels = width
        model.positional_encoding.num_feats = width // 2
        model.bbox_head.embed_dims = width
        for part in (model.encoder, model.decoder):
            for settings in part.layer_cfg.values():
                settings.embed_dims = width
    return MODELS.build(model)


@pytest.fixture
def frames() -> tuple[torch.Tensor, list[DetDataSample]]:
    torch.manual_seed(0)
    width, height = SIZE
    meta = dict(
        img_shape=(height, width),
        ori_shape=(height, width),
        batch_input_shape=(height, width),
        scale_factor=(1.0, 1.0),
    )
    samples = []
    for boxes in ([[4.0, 5, 30, 50], [40, 10, 90, 60]], [[10, 10, 50, 60.0]]):
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes), labels=torch.zeros(len(boxes)).long()
        )
        samples.append(sample)
    return torch.randn(2, 3, height, width), samples


def test_it_is_mmdetections_at_its_only_width(frames):
    """Upstream's own network, with the same weights, is the oracle."""
    images, samples = frames
    ours, theirs = build(256), build(256, type='DeformableDETR')
    # Without it the embeddings of levels are memory that nobody has written.
    ours.init_weights()
    theirs.load_state_dict(ours.state_dict())
    found = [model.train().loss(images, samples) for model in (ours, theirs)]
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    with torch.no_grad():
        ours, theirs = (
            model.eval().predict(images, samples) for model in (ours, theirs)
        )
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.pred_instances.bboxes, other.pred_instances.bboxes)
        assert torch.equal(one.pred_instances.scores, other.pred_instances.scores)


def test_a_narrow_one_learns_where_proposals_are(frames):
    """Upstream's stops with an error; each number of a box moves the queries."""
    images, samples = frames
    model = build()
    model.init_weights()
    losses = model.train().loss(images, samples)
    sum(value for value in losses.values()).backward()
    grad = model.pos_trans_fc.weight.grad
    assert grad.shape == (128, 128)
    # A quarter of the columns belongs to each of x, y, w and h.
    assert (grad.unflatten(1, (4, 32)).abs().sum((0, 2)) > 0).all()
    with pytest.raises(RuntimeError, match='shapes'):
        build(type='DeformableDETR').train().loss(images, samples)
