# Copyright (c) mmfdta authors.
"""Half precision for ONNX graphs, by the rules of ``--precision fp16``.

Products and convolutions compute in float16, what only carries their results on does so
too, and everything else stays float32, as PyTorch's autocast has it: normalisation,
softmax, coordinates and the sampling at them, the heads. Tools that turn a whole graph
to float16 blur the coordinates, where 1000 pixels are a multiple of a half.
"""

from collections.abc import Collection, Mapping

import numpy as np
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

_PRODUCTS = frozenset(('Conv', 'ConvTranspose', 'MatMul', 'Gemm'))
# What is left as it is except for its place, or changed value by value, within the
# range and at the precision that it had.
_CARRIERS = frozenset(
    (
        *('Relu', 'LeakyRelu', 'Clip', 'Gelu', 'Sigmoid', 'Tanh', 'HardSwish'),
        *('Identity', 'Reshape', 'Flatten', 'Transpose', 'Squeeze', 'Unsqueeze'),
        *('Slice', 'Split', 'Expand', 'Tile', 'Pad', 'MaxPool', 'Resize'),
        *('Gather', 'GatherElements', 'GatherND', 'DepthToSpace', 'SpaceToDepth'),
    )
)
# They compute in float16 if all that they take is.
_JOINERS = frozenset(('Add', 'Sub', 'Mul', 'Div', 'Concat', 'Max', 'Min', 'Where'))


def to_half(model: ModelProto, kind: str) -> ModelProto:
    """Convert a float32 graph; inputs and outputs keep their types.

    Args:
        model: As ``torch.onnx.export`` wrote it, with the metadata of its nodes.
        kind: Of the graph, one of :data:`FLOAT32_MODULES`.

    Returns:
        Another graph.
    """
    converted = with_plain_constants(model)
    _Halving(converted, FLOAT32_MODULES[kind]).run()
    return converted


class _Halving:
    """Converts a graph in place.

    A tensor keeps its name as float32, whoever takes it; in float16 it has another.
    """

    def __init__(self, model: ModelProto, float32_modules: Collection[str]) -> None:
        self.model = model
        self.float32_modules = float32_modules
        self.floats = float_tensors(model)
        self.constants: Mapping[str, TensorProto] = {
            x.name: x for x in model.graph.initializer
        }
        self.nodes: list[NodeProto] = []
        # Names in float32 that also are there in float16, and outputs of products.
        self.halved: set[str] = set()
        self.results: set[str] = set()

    def run(self) -> None:
        graph = self.model.graph
        chosen = [self._computes_in_half(node) for node in graph.node]
        wanted = {output.name for output in graph.output}
        for node, half in zip(graph.node, chosen, strict=True):
            wanted.update(taken_inside(node))
            if not half:
                wanted.update(node.input)
        self.halved.clear()
        for node, half in zip(list(graph.node), chosen, strict=True):
            if half:
                self._convert(node, wanted)
            else:
                self.nodes.append(node)
        replace_nodes(graph, self.nodes)
        # Types of what has become float16 are found again by whoever asks.
        del graph.value_info[:]

    def _computes_in_half(self, node: NodeProto) -> bool:
        """Decide for a node, after those that it takes its inputs from."""
        taken = [name for name in node.input if name in self.floats]
        kind = node.op_type
        if is_sampling(node):
            half = False
        elif kind in _PRODUCTS:
            half = len(taken) > 1 and not is_inside(node, self.float32_modules)
            self.results.update(node.output if half else ())
        elif kind in _CARRIERS:
            half = node.input[0] in self.halved
        elif kind in _JOINERS:
            from_half = [name for name in taken if name in self.halved]
            others = [name for name in taken if name not in self.halved]
            half = bool(from_half) and all(
                self._is_scalar(name) or self._is_bias(node, name) for name in others
            )
        else:
            half = False
        if half:
            self.halved.update(node.output)
        return half

    def _is_scalar(self, name: str) -> bool:
        """Whether it is a number, which in PyTorch decides about no type."""
        constant = self.constants.get(name)
        return constant is not None and int(np.prod(constant.dims)) == 1

    def _is_bias(self, node: NodeProto, name: str) -> bool:
        constant = self.constants.get(name)
        products = [x for x in node.input if x in self.results]
        is_vector = constant is not None and len(constant.dims) == 1
        return node.op_type == 'Add' and is_vector and bool(products)

    def _convert(self, node: NodeProto, wanted: set[str]) -> None:
        """Let a node take and give float16."""
        changed = NodeProto()
        changed.CopyFrom(node)
        # The other inputs of Resize are not values of the picture.
        values = node.input[:1] if node.op_type == 'Resize' else node.input
        for index, name in enumerate(values):
            if name in self.floats:
                changed.input[index] = self._in_half(name)
        self.nodes.append(changed)
        for index, name in enumerate(node.output):
            if name not in self.floats:
                continue
            changed.output[index] = _half_name(name)
            self.halved.add(name)
            if name in wanted:
                self._cast(_half_name(name), name, TensorProto.FLOAT)

    def _in_half(self, name: str) -> str:
        """Name of a tensor in float16, which is made if it is not there yet."""
        if name not in self.halved:
            self.halved.add(name)
            constant = self.constants.get(name)
            if constant is None:
                self._cast(name, _half_name(name), TensorProto.FLOAT16)
            else:
                limit = np.finfo(np.float16).max
                array = numpy_helper.to_array(constant)
                finite = np.where(np.isfinite(array), array.clip(-limit, limit), array)
                half = numpy_helper.from_array(
                    finite.astype(np.float16), _half_name(name)
                )
                self.model.graph.initializer.append(half)
        return _half_name(name)

    def _cast(self, name: str, result: str, kind: int) -> None:
        node = helper.make_node('Cast', [name], [result], f'{result}/cast', to=kind)
        self.nodes.append(node)


def _half_name(name: str) -> str:
    return f'{name}/float16'
