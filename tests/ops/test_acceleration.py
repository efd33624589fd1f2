# Copyright (c) mmfdta authors.
"""The one call that puts faster modules in, and what it leaves alone."""

import copy
import importlib
import pickle

import pytest
import torch
from mmcv.cnn import Linear
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttention
from mmdet.models.backbones import ResNet
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from small_fdta import CHANNELS, build, collate, make_clip, small_config
from torch import nn
from torch.ao.nn.quantized.dynamic import Linear as QuantisedLinear
from torch.ao.quantization import quantize_dynamic
from torch.utils.flop_counter import FlopCounterMode

from mmfdta.apis.config import read_config
from mmfdta.apis.model_loading import load_tracker
from mmfdta.ops import accelerate
from mmfdta.ops.acceleration import DROP_INS
from mmfdta.ops.linear import FastLinear, linear_flops

DEFORM = importlib.import_module('mmcv.ops.multi_scale_deform_attn')
FAST = tuple(DROP_INS.values())


@pytest.fixture
def model():
    return build(small_config()).eval()


def predict(model):
    """Outputs of the detector for one clip."""
    batch = model.data_preprocessor(collate(make_clip(2, (64, 96))))
    frames = list(batch['data_samples'][0])
    with torch.no_grad():
        return vars(model.detector.detect(batch['inputs']['img'][0], frames))


def step(model):
    """Losses of one clip and the gradients of all parameters."""
    torch.manual_seed(0)
    losses = model.train().loss(**model.data_preprocessor(collate(make_clip()), True))
    model.zero_grad()
    sum(losses.values()).backward()
    return losses, {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


def count(model, kinds):
    return sum(type(m) in kinds for m in model.modules())


def test_constructors_give_plain_modules(model):
    assert count(model, FAST) == 0
    assert {nn.Linear, Linear, ResNet} <= {type(m) for m in model.modules()}


def test_the_model_says_the_same(model):
    expected = predict(model)
    assert accelerate(model) is model
    assert count(model, DROP_INS) == 0
    found = predict(model)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4)


def test_training_is_the_same():
    config = small_config()
    config.detector.spatial_adapter.dropout = 0.0
    config.temporal_adapter.dropout = 0.0
    model = build(config)
    with torch.no_grad():
        # Off the pixels' centres, where bilinear sampling has no gradient.
        for parameter in model.detector.encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
        for parameter in model.detector.decoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    losses, gradients = step(model)
    fast_losses, fast_gradients = step(accelerate(model))
    torch.testing.assert_close(fast_losses, losses, rtol=1e-4, atol=1e-5)
    assert list(fast_gradients) == list(gradients)
    for name, gradient in gradients.items():
        scale = float(gradient.abs().max()) + 1e-3
        torch.testing.assert_close(
            fast_gradients[name], gradient, rtol=1e-3, atol=1e-3 * scale, msg=name
        )


def test_weights_load_and_save_both_ways(model):
    names, parameters = list(model.state_dict()), list(model.parameters())
    other = build(small_config(), seed=1).eval()
    accelerate(model)
    assert list(model.state_dict()) == names
    for before, after in zip(parameters, model.parameters(), strict=True):
        assert after is before
    expected = predict(other)
    model.load_state_dict(other.state_dict(), strict=True)
    torch.testing.assert_close(predict(model), expected, rtol=1e-4, atol=1e-4)
    other.load_state_dict(model.state_dict(), strict=True)
    torch.testing.assert_close(predict(other), expected)


@pytest.mark.parametrize(
    'duplicate', [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_copies_are_fast_and_their_own(model, duplicate):
    expected = predict(accelerate(model))
    other = duplicate(model)
    assert count(other, FAST) == count(model, FAST)
    torch.testing.assert_close(predict(other), expected)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    torch.testing.assert_close(predict(model), expected)


def test_a_second_call_changes_nothing(model):
    modules = list(accelerate(model).modules())
    again = list(accelerate(model).modules())
    assert all(a is b for a, b in zip(modules, again, strict=True))


def test_a_model_that_is_itself_replaced():
    layer = nn.Linear(3, 4)
    fast = accelerate(layer)
    assert type(layer) is nn.Linear and type(fast) is FastLinear
    assert fast.weight is layer.weight


def test_shared_modules_stay_shared_and_hooks_go_along():
    layer = nn.Linear(4, 4)
    seen = []
    hook = layer.register_forward_hook(lambda *_: seen.append(1))
    net = accelerate(nn.Sequential(layer, nn.ReLU(), layer))
    assert net[0] is net[2] and type(net[0]) is FastLinear
    net(torch.randn(2, 4))
    assert len(seen) == 2
    hook.remove()
    net(torch.randn(2, 4))
    assert len(seen) == 2


def test_subclasses_are_left_alone():
    class Scaled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    assert type(accelerate(nn.Sequential(Scaled(2, 2)))[0]) is Scaled


def test_dynamic_quantisation_quantises(model):
    expected = predict(model)['bbox_preds']
    layers = count(model, (nn.Linear,))
    quantised = quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    assert layers > 30
    assert count(quantised, (QuantisedLinear,)) == layers
    found = predict(accelerate(quantised))['bbox_preds']
    assert count(quantised, (QuantisedLinear,)) == layers
    assert not found.equal(expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.1)
    clip = quantised.data_preprocessor(collate(make_clip(2, (64, 96))))
    quantised(**clip, mode='predict')


def test_other_models_of_the_process_stay_as_they_are(model):
    plain = DEFORM.multi_scale_deformable_attn_pytorch
    assert plain.__module__ == DEFORM.__name__
    forwards = {kind: kind.forward for kind in (*DROP_INS, nn.MultiheadAttention)}
    detector = small_config().detector
    foreign = Config(
        dict(
            detector,
            type='DeformableDETR',
            bbox_head=dict(
                type='DeformableDETRHead',
                num_classes=1,
                embed_dims=CHANNELS,
                loss_cls=dict(type='FocalLoss', use_sigmoid=True),
            ),
            test_cfg=dict(max_per_img=5),
        )
    )
    foreign.pop('spatial_adapter')
    foreign = MODELS.build(foreign.to_dict()).eval()
    # MMDetection allocates the level embedding without values.
    nn.init.normal_(foreign.level_embed)
    image = torch.randn(1, 3, 64, 96)
    size = dict(img_shape=(64, 96), batch_input_shape=(64, 96), scale_factor=(1, 1))

    def detect():
        sample = DetDataSample(metainfo=dict(size, ori_shape=(64, 96)))
        with torch.no_grad():
            return foreign.predict(image, [sample])[0].pred_instances.scores

    kinds, expected = [type(m) for m in foreign.modules()], detect()
    predict(accelerate(model))
    assert [type(m) for m in foreign.modules()] == kinds
    assert MultiScaleDeformableAttention in kinds and nn.Linear in kinds
    assert expected.isfinite().all()
    assert detect().equal(expected)
    assert DEFORM.multi_scale_deformable_attn_pytorch is plain
    for kind, forward in forwards.items():
        assert kind.forward is forward


def test_operations_are_counted(model):
    counts = []
    # PyTorch's counter stumbles over parts of parameters.
    model.requires_grad_(False)
    for _ in range(2):
        with (
            torch.no_grad(),
            FlopCounterMode(display=False, custom_mapping=linear_flops()) as counter,
        ):
            predict(model)
        counts.append(counter.get_total_flops())
        accelerate(model)
    assert counts[0] == counts[1] > 1e6


def test_commands_load_fast_models():
    model = load_tracker(
        read_config('fdta_mini'), None, 'cpu', allow_random_weights=True
    )
    assert count(model, FAST) > 40
    assert count(model, DROP_INS) == 0
