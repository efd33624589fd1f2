# Copyright (c) mmfdta authors.
"""Linear layers by oneDNN against PyTorch's."""

import pytest
import torch
import torch.nn.functional as F
from small_fdta import build, collate, make_clip, small_config
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mmfdta.ops import accelerate, processor
from mmfdta.ops import linear as linear_file
from mmfdta.ops.linear import (
    FastLinear,
    linear,
    linear_flops,
    onednn_gains,
    products,
)

pytestmark = pytest.mark.skipif(
    linear_file._find_operator() is None, reason='PyTorch is built without oneDNN'
)


@pytest.fixture(autouse=True)
def _onednn(monkeypatch):
    """Take oneDNN on processors on which it gains nothing, too."""
    monkeypatch.setattr(linear_file, 'onednn_gains', lambda: True)


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
        monkeypatch.setattr(linear_file, '_WORTHWHILE', 1)
        monkeypatch.setattr(linear_file, '_WORTHWHILE_WITH_GRADIENT', 1)


class CountOperators(TorchDispatchMode):
    """Notes the names of the operators that are called."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


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


@pytest.mark.parametrize(
    ('family', 'avx512', 'gains'),
    [(26, True, True), (25, False, False), (0, True, False)],
)
def test_the_processor_decides(monkeypatch, family, avx512, gains):
    """Zen 5, Zen 3 and Intel."""
    monkeypatch.setattr(linear_file, 'amd_family', lambda: family)
    monkeypatch.setattr(linear_file, 'has_avx512', lambda: avx512)
    monkeypatch.setattr(linear_file, 'onednn_gains', onednn_gains.__wrapped__)
    assert linear_file.onednn_gains() is gains
    x, weight = torch.randn(600, 256), torch.randn(256, 256)
    with torch.no_grad(), CountOperators() as seen:
        linear(x, weight)
    assert ('_linear_pointwise' in seen.names) is gains


@pytest.mark.parametrize(
    ('text', 'family'),
    [
        ('vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 33\n', 25),
        ('AMD64 Family 26 Model 68 Stepping 0, AuthenticAMD', 26),
        ('vendor_id\t: GenuineIntel\ncpu family\t: 6\n', 0),
        ('CPU implementer\t: 0x41\n', 0),
        ('', 0),
    ],
)
def test_the_family_of_a_processor(monkeypatch, tmp_path, text, family):
    (tmp_path / 'cpuinfo').write_text(text)
    monkeypatch.setattr(processor, 'Path', lambda _: tmp_path / 'cpuinfo')
    assert processor.amd_family.__wrapped__() == family


def test_without_the_operator_it_is_pytorchs(monkeypatch):
    monkeypatch.setattr(linear_file, '_find_operator', lambda: None)
    monkeypatch.setattr(linear_file, 'onednn_gains', onednn_gains.__wrapped__)
    x, weight = torch.randn(600, 256), torch.randn(256, 256)
    with torch.no_grad():
        assert linear(x, weight).equal(F.linear(x, weight))
    assert linear_flops() == {}


@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize('rows', [0, 1, 90])
@pytest.mark.usefixtures('_sizes')
def test_products_of_several_matrices(rows: int, batch: int):
    x, weight = torch.randn(batch, rows, 130), torch.randn(batch, 7, 130)
    expected = (x.double() @ weight.double().mT).float()
    torch.testing.assert_close(products(x, weight), expected, rtol=1e-5, atol=1e-4)
    strided = products(expected, weight.mT)
    torch.testing.assert_close(strided, expected @ weight, rtol=1e-5, atol=1e-3)


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


def test_a_traced_layer_holds_operations_of_pytorch(monkeypatch):
    layer = FastLinear(256, 256)
    # The first question runs oneDNN, which would be recorded.
    monkeypatch.setattr(
        linear_file, 'onednn_gains', lambda: pytest.fail('asked while it is traced')
    )
    traced = torch.jit.trace(layer, torch.randn(600, 256), check_trace=False)
    assert 'mkldnn' not in str(traced.graph)


def test_a_whole_model_says_the_same_by_either_library(monkeypatch):
    model = accelerate(build(small_config()).eval())
    batch = model.data_preprocessor(collate(make_clip(num_frames=1, size=(96, 160))))
    frames = list(batch['data_samples'][0])
    monkeypatch.setattr(linear_file, '_WORTHWHILE', 1)
    outputs = []
    for _ in range(2):
        with torch.no_grad():
            outputs.append(model.detector.detect(batch['inputs']['img'][0], frames))
        monkeypatch.setattr(linear_file, 'onednn_gains', lambda: False)
    for name in ('cls_scores', 'bbox_preds', 'embeddings', 'depth_logits'):
        torch.testing.assert_close(
            getattr(outputs[1], name), getattr(outputs[0], name), rtol=1e-4, atol=1e-4
        )
