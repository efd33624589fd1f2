# Copyright (c) mmfdta authors.
"""Static quantisation of ONNX graphs: QuantizeLinear and DequantizeLinear in pairs.

Convolutions and products with weights compute in int8. What they take has a range of
its own, found on frames; weights have one for each output channel. Between convolutions
that follow one another everything stays 8 bits; tokens stay float32 between products,
so that what a transformer adds up is not rounded again and again. The tool of
onnxruntime rounds a tensor for all that take it as soon as one of them is quantised.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from .graph_facts import (
    FLOAT32_MODULES,
    float_tensors,
    is_inside,
    is_sampling,
    replace_nodes,
    taken_inside,
    with_plain_constants,
)

Feeds = Mapping[str, np.ndarray]
_WEIGHTED = frozenset(('Conv', 'MatMul', 'Gemm'))
# They can follow convolutions in 8 bits.
_FOLLOWING = frozenset(('Relu', 'Add', 'Mul', 'Sigmoid', 'Concat', 'MaxPool', 'Resize'))
# They change no value, so that their results have the range of what they take.
_UNCHANGING = frozenset(('MaxPool', 'Resize'))
_LEVELS = 255
_LARGEST_BIAS = 2.0**30
# One of so many numbers is left out at either end of a range.
_LEFT_OUT = 10_000
# x * sigmoid(x) is nearly 0 below it.
_SWISH_ENDS = -6.0


@dataclass(frozen=True)
class Grid:
    """The 256 values that a tensor may have: ``scale * (q - zero)``, q in 0..255."""

    scale: np.float32
    zero: np.uint8

    @classmethod
    def of(cls, low: float, high: float) -> 'Grid':
        """Cover a range and zero."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = np.float32(
            max((high - low) / _LEVELS, float(np.finfo(np.float32).tiny))
        )
        return cls(scale, np.uint8(np.clip(np.rint(-low / scale), 0, _LEVELS)))


def to_integers(model: ModelProto, kind: str, feeds: Iterable[Feeds]) -> ModelProto:
    """Quantise a float32 graph; inputs and outputs keep their types.

    Args:
        model: As ``torch.onnx.export`` wrote it, with the metadata of its nodes.
        kind: Of the graph, one of :data:`FLOAT32_MODULES`.
        feeds: Inputs of the graph as it will see them, to find the ranges with.

    Returns:
        Another graph.

    Raises:
        ValueError: If there are no inputs.
    """
    plain = with_plain_constants(model)
    plan = _Plan(plain, FLOAT32_MODULES[kind])
    grids = find_grids(plain, plan, feeds)
    _Rewriting(plain, plan, grids).run()
    return plain


def find_grids(
    model: ModelProto, plan: '_Plan', feeds: Iterable[Feeds]
) -> dict[str, Grid]:
    """Find the ranges of tensors: the mean over the inputs of their ends.

    A single frame with an outlier so makes no other frame coarser. Of what stays in 8
    bits between convolutions one number in ten thousand at either end is left out.

    Args:
        model: The graph.
        plan: Which tensors of it are quantised.
        feeds: Its inputs.

    Returns:
        Grids by name.

    Raises:
        ValueError: If there are no inputs.
    """
    watched = ModelProto()
    watched.CopyFrom(model)
    graph = watched.graph
    del graph.output[:]
    numbers = dict(flat=[-1], first=[1], left_out=[_LEFT_OUT])
    for name, value in numbers.items():
        tensor = numpy_helper.from_array(np.array(value), f'ends/{name}')
        graph.initializer.append(tensor)
    for index, name in enumerate(plan.ranged):
        for low, output in ((True, f'low/{index}'), (False, f'high/{index}')):
            taken = name
            if name in plan.followed:
                taken = f'{output}/ends'
                graph.node.extend(_take_ends(name, taken, low))
            kind = 'ReduceMax' if low == (name in plan.followed) else 'ReduceMin'
            graph.node.append(helper.make_node(kind, [taken], [output], keepdims=0))
            graph.output.append(
                helper.make_tensor_value_info(output, TensorProto.FLOAT, [])
            )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), options, providers=['CPUExecutionProvider']
    )
    found = [session.run(None, dict(feed)) for feed in feeds]
    if not found:
        raise ValueError('there is no frame to calibrate on')
    grids = {}
    ranges = np.array(found, np.float64).mean(0).reshape(-1, 2)
    for name, (low, high) in zip(plan.ranged, ranges.tolist(), strict=True):
        grids[name] = Grid.of(
            max(low, _SWISH_ENDS) if name in plan.swish else low, high
        )
    return grids


def _take_ends(name: str, result: str, low: bool) -> Iterator[NodeProto]:
    """Take the share of a tensor's numbers that is left out, and the one next to it."""
    make = helper.make_node
    yield make('Reshape', [name, 'ends/flat'], [f'{result}/flat'])
    yield make('Shape', [f'{result}/flat'], [f'{result}/size'])
    yield make('Div', [f'{result}/size', 'ends/left_out'], [f'{result}/few'])
    yield make('Add', [f'{result}/few', 'ends/first'], [f'{result}/count'])
    yield make(
        'TopK',
        [f'{result}/flat', f'{result}/count'],
        [result, f'{result}/places'],
        largest=0 if low else 1,
    )


class _Plan:
    """Which nodes and tensors of a graph are quantised.

    Attributes:
        weighted: Outputs of the nodes with quantised weights.
        followed: Tensors that all who take them take in 8 bits.
        taken: Tensors that quantised nodes take in 8 bits, and others in float32.
        same: Tensors by whose grid that of others is given.
        ranged: Tensors whose ranges have to be found.
        swish: Those that are multiplied with their own sigmoid.
    """

    def __init__(self, model: ModelProto, float32_modules: Collection[str]) -> None:
        self.constants = {x.name: x for x in model.graph.initializer}
        self.float32_modules = float32_modules
        self.weighted: set[str] = set()
        self.followed: dict[str, NodeProto] = {}
        self.taken: set[str] = set()
        self.same: dict[str, str] = {}
        graph = model.graph
        floats = float_tensors(model)
        consumers: dict[str, list[NodeProto | None]] = {}
        for node in graph.node:
            for name in {*node.input, *taken_inside(node)}:
                consumers.setdefault(name, []).append(node)
        for output in graph.output:
            consumers.setdefault(output.name, []).append(None)
        inside: set[str] = set()  # results that a Relu takes over
        for node in graph.node:
            result = node.output[0]
            kind = node.op_type
            users = consumers.get(result, [])
            # onnxruntime takes a Relu that nothing else sees into the rounding.
            relu = [user and user.op_type for user in users] == ['Relu']
            if kind in _WEIGHTED and self._has_weights(node, floats):
                self.weighted.add(result)
                if node.input[0] not in self.followed:
                    self.taken.add(node.input[0])
                if kind != 'Conv':
                    continue
            elif kind in _FOLLOWING and not self._stays_float32(node):
                values = node.input[:1] if kind == 'Resize' else node.input
                if not all(v in self.followed or v in inside for v in values):
                    continue
                if kind in _UNCHANGING:
                    self.same[result] = node.input[0]
            else:
                continue
            if relu:
                inside.add(result)
            else:
                self.followed[result] = node
        self.ranged = sorted({*self.taken, *self.followed} - {*self.same})
        self.swish = {
            name
            for name in self.followed
            if sorted(user.op_type for user in consumers.get(name, []) if user)
            == ['Mul', 'Sigmoid']
        }

    def _has_weights(self, node: NodeProto, floats: set[str]) -> bool:
        weights = self.constants.get(node.input[1])
        return (
            node.input[0] in floats
            and node.input[0] not in self.constants
            and weights is not None
            and weights.data_type == TensorProto.FLOAT
            and (node.op_type == 'Conv' or len(weights.dims) == 2)
            and not self._stays_float32(node)
        )

    def _stays_float32(self, node: NodeProto) -> bool:
        return is_inside(node, self.float32_modules) or is_sampling(node)


class _Rewriting:
    """Puts the pairs into a graph, in place."""

    def __init__(
        self, model: ModelProto, plan: _Plan, grids: Mapping[str, Grid]
    ) -> None:
        self.model = model
        self.plan = plan
        self.grids = dict(grids)
        self.nodes: list[NodeProto] = []
        self.made: set[str] = set()

    def run(self) -> None:
        graph = self.model.graph
        for value in graph.input:
            if value.name in self.plan.taken:
                self._round(value.name)
        for node in list(graph.node):
            changed = NodeProto()
            changed.CopyFrom(node)
            weighted = node.output[0] in self.plan.weighted
            for index, name in enumerate(node.input):
                if name in self.plan.followed or (weighted and index == 0):
                    changed.input[index] = _rounded(name)
            if weighted:
                self._quantise_weights(changed, node.input[0])
            self.nodes.append(changed)
            for name in node.output:
                if name in self.plan.same:
                    self.grids[name] = self.grids[self.plan.same[name]]
                if name in self.plan.followed or name in self.plan.taken:
                    self._round(name)
        replace_nodes(graph, self.nodes)

    def _round(self, name: str) -> None:
        """Add the pair behind a tensor."""
        grid = self.grids[name]
        scale = self._constant(f'{name}/scale', np.array(grid.scale))
        zero = self._constant(f'{name}/zero', np.array(grid.zero))
        number = f'{name}/uint8'
        self._add('QuantizeLinear', [name, scale, zero], number)
        self._add('DequantizeLinear', [number, scale, zero], _rounded(name))

    def _quantise_weights(self, node: NodeProto, taken: str) -> None:
        """Let a node take int8 weights, and a bias in int32."""
        name = node.input[1]
        weights = numpy_helper.to_array(self.plan.constants[name])
        axis = 0
        if node.op_type == 'MatMul' or (
            node.op_type == 'Gemm' and not _attribute(node, 'transB')
        ):
            axis = 1
        others = tuple(i for i in range(weights.ndim) if i != axis)
        tiny = np.finfo(np.float32).tiny
        scale = np.maximum(np.abs(weights).max(others) / 127, tiny)
        bias = None
        if node.op_type != 'MatMul' and len(node.input) > 2 and node.input[2]:
            tensor = self.plan.constants.get(node.input[2])
            bias = None if tensor is None else numpy_helper.to_array(tensor)
        if bias is not None:
            # The bias counts in steps of both scales, and has to fit int32.
            step = self.grids[taken].scale
            scale = np.maximum(scale, np.abs(bias) / (_LARGEST_BIAS * step))
        scale = scale.astype(np.float32)
        shape = [-1 if i == axis else 1 for i in range(weights.ndim)]
        whole = np.clip(np.rint(weights / scale.reshape(shape)), -127, 127)
        prefix = f'{node.output[0]}/weight'
        node.input[1] = self._whole(prefix, whole.astype(np.int8), scale, axis)
        if bias is not None:
            of_bias = (step * scale).astype(np.float32)
            whole = np.rint(bias.astype(np.float64) / of_bias).astype(np.int32)
            node.input[2] = self._whole(f'{node.output[0]}/bias', whole, of_bias, 0)

    def _whole(
        self, name: str, values: np.ndarray, scale: np.ndarray, axis: int
    ) -> str:
        """Add constants in whole numbers; return the name of what they stand for."""
        inputs = [
            self._constant(f'{name}/whole', values),
            self._constant(f'{name}/scale', scale),
            self._constant(f'{name}/zero', np.zeros(scale.shape, values.dtype)),
        ]
        self._add('DequantizeLinear', inputs, name, axis=axis)
        return name

    def _constant(self, name: str, value: np.ndarray) -> str:
        self.model.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def _add(
        self, kind: str, inputs: list[str], output: str, axis: int | None = None
    ) -> None:
        name = f'{output}/{kind}'
        self.nodes.append(helper.make_node(kind, inputs, [output], name, axis=axis))


def _rounded(name: str) -> str:
    return f'{name}/rounded'


def _attribute(node: NodeProto, name: str) -> int:
    return next((a.i for a in node.attribute if a.name == name), 0)
