# Copyright (c) mmfdta authors.
"""ONNX files hold what every onnxruntime reads, and nothing of where they were made."""

from types import SimpleNamespace

import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from onnxscript import ir
from torch import nn
from torch.export import Dim

from mmfdta.apis.export import OPSET, onnx_files, operators, save_onnx, to_onnx


class Small(nn.Module):
    """A convolution, and a sum with a number that depends on the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3)

    def forward(self, x):
        return self.conv(x).relu() + x.shape[-1]


@pytest.fixture(scope='module')
def proto():
    graph = Small().eval()
    return to_onnx(
        graph, dict(x=torch.rand(1, 3, 8, 9)), dict(x={3: Dim('width')}), ['y']
    )


def test_a_length_that_became_a_number_is_refused(monkeypatch, proto):
    """PyTorch's exporter may make it one without a word."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    fixed.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 9
    recorded = SimpleNamespace(model_proto=fixed, model=ir.from_proto(fixed))
    monkeypatch.setattr(torch.onnx, 'export', lambda *_, **__: recorded)
    with pytest.raises(RuntimeError, match='Small: axis 3 of x is always 9') as error:
        to_onnx(Small(), dict(x=torch.rand(1)), dict(x={3: Dim('width')}), ['y'])
    assert '\n' not in str(error.value)


class Clips(nn.Module):
    """One value clipped twice, as inverse sigmoids of MMDetection do."""

    def forward(self, x):
        x = x.sigmoid()
        return x.clamp(min=0.2).clamp(max=0.9) + 2 * x.clamp(min=0.1).clamp(max=0.6)


def test_each_clip_of_a_value_keeps_its_limits():
    x = torch.linspace(-4, 4, 33)[None]
    file = to_onnx(Clips().eval(), dict(x=x), dict(x={1: Dim('width')}), ['y'])
    session = onnxruntime.InferenceSession(file.SerializeToString())
    (found,) = session.run(None, dict(x=x.numpy()))
    torch.testing.assert_close(torch.from_numpy(found), Clips()(x))


def test_a_file_says_nothing_of_its_making(proto, tmp_path):
    assert any(node.metadata_props for node in proto.graph.node)  # for converters
    kept = onnx.ModelProto()
    kept.CopyFrom(proto)
    path = tmp_path / 'small.onnx'
    assert save_onnx(kept, path) == []
    content = path.read_bytes()
    assert b'.py' not in content and b'torch.nn' not in content
    loaded = onnx.load(path)
    onnx.checker.check_model(loaded, full_check=True)
    assert [(o.domain, o.version) for o in loaded.opset_import] == [('', OPSET)]
    # What onnxruntime 1.17 and others of its time read.
    assert loaded.ir_version == 8


def test_weights_that_are_too_large_lie_beside_it(proto, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_files, '_LARGEST', 100)
    kept = onnx.ModelProto()
    kept.CopyFrom(proto)
    path = tmp_path / 'small.onnx'
    assert save_onnx(kept, path) == [tmp_path / 'small.onnx.data']
    weights = {i.name: i for i in onnx.load(path).graph.initializer}
    assert weights['conv.weight'].raw_data == next(
        i.raw_data for i in proto.graph.initializer if i.name == 'conv.weight'
    )


def graph_of(*nodes, domains=('',)):
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in 'xy')
    return helper.make_model(
        helper.make_graph(nodes, 'g', [x], [y]),
        opset_imports=[helper.make_opsetid(domain, OPSET) for domain in domains],
    )


def test_operators_are_counted_in_inner_graphs_too():
    branch = helper.make_graph(
        [helper.make_node('Exp', ['x'], ['z']), helper.make_node('Exp', ['z'], ['w'])],
        'branch',
        [],
        [helper.make_tensor_value_info('w', TensorProto.FLOAT, None)],
    )
    model = graph_of(
        helper.make_node('ReduceSum', ['x'], ['s']),
        helper.make_node('If', ['s'], ['y'], then_branch=branch, else_branch=branch),
    )
    assert operators(model) == {'ReduceSum': 1, 'If': 1, 'Exp': 4}


def test_grid_sample_and_operators_of_others_are_refused(tmp_path):
    sample = graph_of(helper.make_node('GridSample', ['x', 'x'], ['y']))
    foreign = graph_of(
        helper.make_node('Magic', ['x'], ['y'], domain='com.example'),
        domains=('', 'com.example'),
    )
    for model, name in ((sample, 'GridSample'), (foreign, r'com\.example\.Magic')):
        with pytest.raises(ValueError, match=f'det.onnx: .* operators {name}'):
            save_onnx(model, tmp_path / 'det.onnx')
    assert not list(tmp_path.iterdir())
