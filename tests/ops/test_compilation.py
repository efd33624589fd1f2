# Copyright (c) mmfdta authors.
"""Compiled detectors: one graph for each network, and the numbers of the plain one.

What dynamo records is run by its eager backend but for one network that is compiled by
the C++ compiler: graph breaks and numbers are the same, and it takes seconds.
"""

import copy
import functools
import importlib
import logging
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from small_fdta import build, collate, make_clip, small_config
from small_hosts import host_config, make_frames
from small_motr import small_motr_config
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmfdta.apis import MOTInferencer
from mmfdta.apis.detection_store import detection_fingerprint
from mmfdta.engine import PRECISIONS, keep_precision
from mmfdta.ops import accelerate, compile_detector
from mmfdta.ops.compilation import is_compiled
from mmfdta.ops.folding import FoldedResNet
from mmfdta.ops.linear import linear_flops

# A graph for each network, an error where one would need two.
RECORDED = dict(backend='eager', fullgraph=True)


@pytest.fixture(autouse=True)
def fresh_compiler():
    """Graphs of other tests count neither here nor against dynamo's limit."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def compiled(model: nn.Module) -> nn.Module:
    """A compiled copy; the sum that was compiled to try is forgotten."""
    model = compile_detector(copy.deepcopy(model), **RECORDED)
    torch._dynamo.utils.counters.clear()
    return model


def shallow_fdta() -> nn.Module:
    config = small_config()
    config.detector.decoder.num_layers = 1
    config.match_layer = -1
    return accelerate(build(config).eval())


def frames(number: int, height: int, width: int, padding: int) -> tuple:
    size = height - padding, width - padding
    meta = dict(img_shape=size, ori_shape=size, batch_input_shape=(height, width))
    generator = torch.Generator().manual_seed(height + number)
    images = torch.randn(number, 3, height, width, generator=generator)
    return images, [DetDataSample(metainfo=dict(meta, frame_id=0))] * number


def graphs() -> int:
    return torch._dynamo.utils.counters['stats']['unique_graphs']


def check(model: nn.Module, plain: nn.Module, *size: int) -> None:
    images, samples = frames(*size)
    with torch.no_grad():
        found = model.detector.detect(images, samples)
        expected = plain.detector.detect(images, samples)
    for name in ('cls_scores', 'bbox_preds', 'embeddings', 'depth_logits'):
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-5
        )


def test_every_network_is_one_graph_with_the_same_numbers():
    plain = shallow_fdta()
    model = compiled(plain)
    parts = [n for n, part in model.detector.named_children() if is_compiled(part)]
    assert parts == [
        *('backbone', 'neck', 'bbox_head', 'encoder', 'decoder', 'spatial_adapter')
    ]
    assert list(model.state_dict()) == list(plain.state_dict())
    check(model, plain, 1, 64, 96, 0)
    first = graphs()
    check(model, plain, 1, 64, 96, 0)
    assert graphs() == first == len(parts)
    # With padding only what sees the mask is compiled again.
    check(model, plain, 1, 64, 96, 8)
    assert graphs() == first + 3
    # Another size once more, for any size.
    check(model, plain, 1, 96, 160, 0)
    assert graphs() == first + 3 + len(parts)
    for _ in range(2):
        check(model, plain, 1, 64, 96, 0)
        check(model, plain, 1, 64, 96, 8)
    assert graphs() == first + 3 + len(parts)
    # Changed weights are those that count, folded ones too.
    with torch.no_grad():
        for parameter in plain.detector.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    model.load_state_dict(plain.state_dict())
    check(model, plain, 1, 64, 96, 0)
    copied = copy.deepcopy(model)
    assert not any(is_compiled(part) for part in copied.modules())
    check(copied, plain, 1, 64, 96, 0)


def test_identities_of_a_video_are_the_same():
    plain = shallow_fdta()
    plain.tracker.det_thr = plain.tracker.newborn_thr = 0.0
    model = compiled(plain)
    clip = collate(make_clip(3, (64, 96)))
    found, expected = (
        each.test_step(copy.deepcopy(clip))[0] for each in (model, plain)
    )
    for ours, theirs in zip(found, expected, strict=True):
        ours, theirs = ours.pred_track_instances, theirs.pred_track_instances
        assert len(ours) and ours.instances_id.equal(theirs.instances_id)
        torch.testing.assert_close(ours.bboxes, theirs.bboxes, rtol=1e-4, atol=1e-3)


def test_motr_with_any_number_of_tracks():
    plain = accelerate(build(small_motr_config()).eval())
    model = compiled(plain)
    images, samples = frames(1, 64, 96, 0)
    for tracks in (0, 3, 5):
        results = []
        for each in (model, plain):
            with torch.no_grad():
                encoded = each.detector.encode(images, samples)
                queries = each.detector.detect_queries()
                queries = queries.followed_by(queries[torch.arange(tracks)])
                results.append(each.detector.decode(encoded, queries))
        torch.testing.assert_close(
            results[0].bbox_preds, results[1].bbox_preds, rtol=1e-4, atol=1e-5
        )
    known = graphs()
    with torch.no_grad():
        queries = queries.followed_by(queries[torch.arange(4)])
        model.detector.decode(model.detector.encode(images, samples), queries)
    assert graphs() == known


def test_yolox():
    config = Config.fromfile(
        Path(__file__).parents[2] / 'configs/bytetrack_yolox-x_mot17.py'
    ).model
    config.detector.backbone.update(deepen_factor=0.33, widen_factor=0.125)
    config.detector.neck.update(
        in_channels=[32, 64, 128], out_channels=32, num_csp_blocks=1
    )
    config.detector.bbox_head.update(in_channels=32, feat_channels=32)
    torch.manual_seed(0)
    plain = accelerate(MODELS.build(config).eval()).detector
    model = compiled(plain)
    images, _ = frames(2, 64, 96, 0)
    with torch.no_grad():
        found, expected = (d.bbox_head(d.extract_feat(images)) for d in (model, plain))
    assert graphs() == 3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_networks_of_a_host():
    """With the Spatial Adapter, to which each call's queries attend."""
    init_default_scope('mmdet')
    config = dict(
        type='QueryDetector',
        host=host_config('detr'),
        spatial_adapter=dict(
            type='SpatialAdapter', num_bins=10, num_groups=4, num_heads=4
        ),
    )
    plain = accelerate(MODELS.build(config).eval())
    model = compile_detector(copy.deepcopy(plain), backend='eager')
    assert is_compiled(model.host.encoder) and is_compiled(model.spatial_adapter)
    for seed in (0, 1):
        images, samples = make_frames([0, 0], seed=seed)
        with torch.no_grad():
            found, expected = (d.detect(images, samples) for d in (model, plain))
        torch.testing.assert_close(found.embeddings, expected.embeddings)


def test_a_head_in_float32_is_not_compiled():
    init_default_scope('mmdet')
    plain = accelerate(MODELS.build(host_config('detr')).eval())
    keep_precision(plain, PRECISIONS['bf16'])
    model = compile_detector(copy.deepcopy(plain), backend='eager')
    assert is_compiled(model.encoder) and not is_compiled(model.bbox_head)
    images, samples = make_frames([0, 0])
    with torch.no_grad():
        found, expected = (
            d(images, copy.deepcopy(samples), mode='predict') for d in (model, plain)
        )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(
            one.pred_instances.scores, other.pred_instances.scores
        )


def test_products_are_counted_in_a_compiled_network():
    plain = shallow_fdta().requires_grad_(False)
    model = compile_detector(copy.deepcopy(plain), backend='eager')
    counts = []
    for each in (model, plain):
        counter = FlopCounterMode(display=False, custom_mapping=linear_flops())
        with torch.no_grad(), counter:
            each.detector.detect(*frames(1, 64, 96, 0))
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


class Net(BaseModule):
    """A network that takes a second to compile."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x).sigmoid() * 2


def test_the_cpu_compiler_and_what_is_said_without_one(monkeypatch, tmp_path):
    model = nn.ModuleDict(dict(detector=nn.ModuleDict(dict(backbone=Net()))))
    model.detector = model['detector']
    x = torch.randn(3, 4)
    with torch.no_grad():
        expected = model.detector['backbone'](x)
        found = compile_detector(model).detector['backbone'](x)
    assert is_compiled(model.detector['backbone'])
    torch.testing.assert_close(found, expected)

    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', str(tmp_path))
    monkeypatch.setattr('torch._inductor.config.cpp.cxx', (None, '/no/compiler'))
    with pytest.raises(ValueError, match='compiler fails for cpu .*C.. compiler') as e:
        compile_detector(model)
    assert '\n' not in str(e.value)


def test_a_model_without_networks_is_refused():
    with pytest.raises(ValueError, match='found Linear, which has no networks'):
        compile_detector(nn.Linear(2, 2))


def test_kept_detections_are_those_of_a_compiled_detector(monkeypatch):
    class Data:
        pipeline = type('Pipeline', (), dict(transforms=[]))

    model = shallow_fdta()
    plain = detection_fingerprint(model, Data())
    assert detection_fingerprint(copy.deepcopy(model), Data()) == plain
    compile_detector(model, **RECORDED)
    assert detection_fingerprint(model, Data()) != plain


def test_the_inferencer_and_the_test_follow_the_setting(monkeypatch):
    monkeypatch.setattr(torch, 'compile', functools.partial(torch.compile, **RECORDED))
    name = 'bytetrack_fdta-det_mini'
    inferencer = MOTInferencer(name, compile=True, allow_random_weights=True)
    assert is_compiled(inferencer.model.detector.encoder)
    assert isinstance(inferencer.model.detector.backbone, FoldedResNet)
    inferencer = MOTInferencer(name, allow_random_weights=True)
    assert not any(is_compiled(part) for part in inferencer.model.modules())

    seen = []

    class TestedRunner:
        model = inferencer.model
        logger = logging.getLogger('tested')

        def register_hook(self, hook):
            pass

        def test(self):
            seen.append(is_compiled(self.model.detector.encoder))

    module = importlib.import_module('mmfdta.apis.test')
    monkeypatch.setattr(module, 'build_runner', lambda config: TestedRunner())
    for setting in (False, True):
        settings = dict(model={}, test_evaluator=[], work_dir='')
        module.test(Config(dict(settings, compile_detector=setting)), None)
    assert seen == [False, True]
