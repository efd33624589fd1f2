# Copyright (c) mmfdta authors.
"""Linear layers as convolutions against PyTorch's."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import FFN
from small_fdta import build, collate, make_clip, small_config
from torch import nn

from mmfdta.models.layers import Linear, linear, use_fast_linears


@pytest.fixture(autouse=True)
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    'shape', [(128, 5), (1, 301, 33), (3, 4, 77, 16), (5, 3, 8), (0, 8), (200, 1)]
)
@pytest.mark.parametrize('bias', [True, False])
def test_linear_as_convolution_is_linear(shape, bias):
    x = torch.randn(shape)
    weight = torch.randn(7, shape[-1])
    bias = torch.randn(7) if bias else None
    with torch.no_grad():
        found = linear(x, weight, bias)
    expected = F.linear(
        x.double(), weight.double(), bias if bias is None else bias.double()
    )
    assert found.is_contiguous()
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-5)


def test_strided_tokens_and_weights():
    x = torch.randn(40, 6, 2, 10).transpose(1, 2)[..., ::2]
    weight = torch.randn(9, 12)[:, 3:8]
    with torch.no_grad():
        torch.testing.assert_close(
            linear(x, weight), F.linear(x, weight), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_other_types(dtype):
    x, weight = torch.randn(200, 16, dtype=dtype), torch.randn(8, 16, dtype=dtype)
    with torch.no_grad():
        found = linear(x, weight)
    assert found.dtype == dtype
    torch.testing.assert_close(found, F.linear(x, weight), rtol=2e-2, atol=2e-2)


def test_gradients_are_those_of_pytorch():
    x = torch.randn(200, 6, requires_grad=True)
    layer = Linear(6, 4)
    plain = nn.Linear(6, 4)
    plain.load_state_dict(layer.state_dict())
    gradients = [
        torch.autograd.grad(net(x).square().sum(), [x, *net.parameters()])
        for net in (layer, plain)
    ]
    torch.testing.assert_close(*gradients)


def test_replaced_layers_keep_their_weights_and_copies():
    net = FFN(16, 32, ffn_drop=0.0, add_identity=False).eval()
    x, before = torch.randn(200, 16), copy.deepcopy(net.state_dict())
    with torch.no_grad():
        expected = net(x)
        use_fast_linears(net)
        for other in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert sum(type(m) is Linear for m in other.modules()) == 2
            torch.testing.assert_close(other(x), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(net.state_dict(), before)


def test_a_whole_model_says_the_same_on_one_and_two_threads():
    model = build(small_config()).eval()
    batch = model.data_preprocessor(collate(make_clip(num_frames=1, size=(96, 160))))
    frames = list(batch['data_samples'][0])
    outputs = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with torch.no_grad():
            outputs.append(model.detector.detect(batch['inputs']['img'][0], frames))
    for name in ('cls_scores', 'bbox_preds', 'embeddings', 'depth_logits'):
        torch.testing.assert_close(
            getattr(outputs[1], name), getattr(outputs[0], name), rtol=1e-4, atol=1e-4
        )
