# Copyright (c) mmfdta authors.
"""Linear layers by oneDNN against PyTorch's."""

import copy
import importlib
import pickle

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import FFN
from small_fdta import build, collate, make_clip, small_config
from torch.utils.flop_counter import FlopCounterMode

from mmfdta.models.layers import Linear, linear, use_fast_linears
from mmfdta.ops import onednn
from mmfdta.ops.onednn import linear_flops, matrix_products

# The package's attribute of this name is the function.
linear_file = importlib.import_module('mmfdta.ops.linear')


@pytest.fixture(params=[1, 2], ids='threads {}'.format)
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=['worthwhile', 'every product'])
def _sizes(request, monkeypatch):
    """Small products go to oneDNN too."""
    if request.param == 'every product':
        monkeypatch.setattr(onednn, 'WORTHWHILE', 1)
        monkeypatch.setattr(linear_file, 'WORTHWHILE', 1)
        monkeypatch.setattr(linear_file, 'WORTHWHILE_WITH_GRADIENT', 1)


SHAPES = [(128, 5), (1, 301, 33), (3, 4, 77, 16), (5, 3, 8), (0, 8), (1, 1), (600, 257)]


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.usefixtures('threads', '_sizes')
def test_products_and_gradients_are_those_of_double_precision(shape, bias):
    x = torch.randn(shape)
    weight = torch.randn(41, shape[-1])
    leaves = [x, weight, *([torch.randn(41)] if bias else [])]
    exact = [leaf.double().requires_grad_() for leaf in leaves]
    expected = F.linear(*exact)
    with torch.no_grad():
        found = linear(*leaves)
    assert found.is_contiguous()
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-4)
    for leaf in leaves:
        leaf.requires_grad_()
    found = linear(*leaves)
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(
        torch.autograd.grad(found.sin().sum(), leaves),
        tuple(g.float() for g in torch.autograd.grad(expected.sin().sum(), exact)),
        rtol=1e-4,
        atol=1e-3,
    )


@pytest.mark.parametrize('activation', ['relu', 'gelu'])
@pytest.mark.parametrize('with_gradient', [True, False])
@pytest.mark.usefixtures('_sizes')
def test_activation_in_the_same_pass(activation, with_gradient):
    x, weight, bias = torch.randn(300, 256), torch.randn(256, 256), torch.randn(256)
    expected = getattr(F, activation)(
        F.linear(x.double(), weight.double(), bias.double())
    )
    x.requires_grad_(with_gradient)
    found = linear(x, weight, bias, activation)
    assert found.requires_grad == with_gradient
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-4)


@pytest.mark.usefixtures('_sizes')
def test_what_follows_may_work_in_place():
    x, weight = torch.randn(4, 300, 256, requires_grad=True), torch.randn(256, 256)
    gradients = [
        torch.autograd.grad(F.relu(product(x, weight), inplace=True).sum(), x)
        for product in (linear, F.linear)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-4)


@pytest.mark.usefixtures('_sizes')
def test_gradients_only_where_they_are_asked_for():
    x, weight, bias = torch.randn(300, 256), torch.randn(256, 256), torch.randn(256)
    for asked in (x, weight, bias):
        asked.requires_grad_()
        linear(x, weight, bias).sum().backward()
        assert [t.grad is not None for t in (x, weight, bias)] == [
            t is asked for t in (x, weight, bias)
        ]
        asked.grad = None
        asked.requires_grad_(False)
    assert not linear(x, weight, bias).requires_grad


@pytest.mark.usefixtures('_sizes')
def test_strided_tokens_and_weights():
    x = torch.randn(40, 6, 2, 10).transpose(1, 2)[..., ::2]
    weight = torch.randn(9, 12)[:, 3:8]
    with torch.no_grad():
        torch.testing.assert_close(
            linear(x, weight), F.linear(x, weight), rtol=1e-5, atol=1e-5
        )


@pytest.mark.usefixtures('_sizes')
def test_autocast_decides_the_type():
    x, weight = torch.randn(200, 16), torch.randn(8, 16)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        assert linear(x, weight).dtype == torch.bfloat16


def test_without_the_operator_it_is_pytorchs(monkeypatch):
    monkeypatch.setattr(onednn, 'find_onednn_linear', lambda: None)
    x, weight = torch.randn(600, 256), torch.randn(256, 256)
    with torch.no_grad():
        assert linear(x, weight).equal(F.linear(x, weight))
    assert linear_flops() == {}


@pytest.mark.parametrize('batch', [0, 1, 3])
@pytest.mark.usefixtures('_sizes')
def test_products_of_matrices(batch):
    x, other = torch.randn(batch, 90, 130), torch.randn(batch, 130, 100)
    with torch.no_grad():
        found = matrix_products(x, other.transpose(1, 2))
    expected = (x.double() @ other.double()).float()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.usefixtures('_sizes')
def test_operations_are_counted():
    x, weight = torch.randn(4, 300, 256), torch.randn(64, 256)
    counts = []
    for product in (linear, F.linear):
        with (
            torch.no_grad(),
            FlopCounterMode(display=False, custom_mapping=linear_flops()) as counter,
        ):
            product(x, weight)
        counts.append(counter.get_total_flops())
    assert counts == [2 * 4 * 300 * 256 * 64] * 2


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_other_types(dtype):
    x, weight = torch.randn(200, 16, dtype=dtype), torch.randn(8, 16, dtype=dtype)
    with torch.no_grad():
        found = linear(x, weight)
    assert found.dtype == dtype
    torch.testing.assert_close(found, F.linear(x, weight), rtol=2e-2, atol=2e-2)


def test_replaced_layers_keep_their_weights_and_copies():
    net = FFN(16, 32, ffn_drop=0.0, add_identity=False).eval()
    x, before = torch.randn(20_000, 16), copy.deepcopy(net.state_dict())
    with torch.no_grad():
        expected = net(x)
        use_fast_linears(net)
        for other in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert sum(type(m) is Linear for m in other.modules()) == 2
            torch.testing.assert_close(other(x), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(net.state_dict(), before)


def test_a_whole_model_says_the_same_by_either_library(monkeypatch):
    model = build(small_config()).eval()
    batch = model.data_preprocessor(collate(make_clip(num_frames=1, size=(96, 160))))
    frames = list(batch['data_samples'][0])
    monkeypatch.setattr(linear_file, 'WORTHWHILE', 1)
    outputs = []
    for _ in range(2):
        with torch.no_grad():
            outputs.append(model.detector.detect(batch['inputs']['img'][0], frames))
        monkeypatch.setattr(onednn, 'find_onednn_linear', lambda: None)
    for name in ('cls_scores', 'bbox_preds', 'embeddings', 'depth_logits'):
        torch.testing.assert_close(
            getattr(outputs[1], name), getattr(outputs[0], name), rtol=1e-4, atol=1e-4
        )
