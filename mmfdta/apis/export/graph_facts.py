# Copyright (c) mmfdta authors.
"""What is known about the nodes and tensors of an ONNX graph."""

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, inliner

FLOAT32_MODULES: Mapping[str, Collection[str]] = {
    'queries': ('bbox_head', 'reference_points_fc'),
    'yolox': (
        *('multi_level_conv_cls', 'multi_level_conv_reg', 'multi_level_conv_obj'),
    ),
    'association': ('word_to_embed', 'embed_to_word'),
}
"""Modules that stay float32 in any precision, by the kind of the graph they are in."""

# Modules that computed a node, outermost first, their classes, and in the last place of
# both the operator of PyTorch; torch.onnx writes it.
_SCOPES = 'pkg.torch.onnx.name_scopes'
_CLASSES = 'pkg.torch.onnx.class_hierarchy'
_SAMPLING = 'mmfdta.deformable_sampling'


def is_inside(node: NodeProto, modules: Collection[str]) -> bool:
    """Tell whether a node was computed in a module of one of some names.

    Args:
        node: As ``torch.onnx.export`` wrote it, with its metadata.
        modules: Names of submodules, at any depth, such as ``bbox_head``.
    """
    paths = _read(node, _SCOPES)[:-1]
    return any(part in modules for path in paths for part in path.split('.'))


def is_sampling(node: NodeProto) -> bool:
    """Tell whether a node is part of deformable sampling.

    It stays float32 in any precision: places in the levels and rows of a table are
    computed there.

    Args:
        node: As ``torch.onnx.export`` wrote it, with its metadata.
    """
    return any(name.startswith(_SAMPLING) for name in _read(node, _CLASSES)[-1:])


def _read(node: NodeProto, key: str) -> list[str]:
    """Read a list off the metadata of a node; an empty one where there is none."""
    written = next((p.value for p in node.metadata_props if p.key == key), '[]')
    return ast.literal_eval(written)


def with_plain_constants(model: ModelProto) -> ModelProto:
    """Copy a model; constants become initialisers, and functions what they do."""
    copied = ModelProto()
    copied.CopyFrom(model)
    if copied.functions:
        copied = inliner.inline_local_functions(copied)
    graph = copied.graph
    nodes = []
    for node in graph.node:
        tensor = next((a.t for a in node.attribute if a.name == 'value'), None)
        if node.op_type == 'Constant' and tensor is not None:
            graph.initializer.append(tensor)
            graph.initializer[-1].name = node.output[0]
        else:
            nodes.append(node)
    replace_nodes(graph, nodes)
    return copied


def replace_nodes(graph: GraphProto, nodes: Iterable[NodeProto]) -> None:
    """Give a graph other nodes, and forget initialisers that none of them takes."""
    kept = GraphProto(node=nodes)
    del graph.node[:]
    graph.node.extend(kept.node)
    used = {name for node in graph.node for name in (*node.input, *taken_inside(node))}
    used |= {output.name for output in graph.output}
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in used:
            del graph.initializer[index]


def float_tensors(model: ModelProto) -> set[str]:
    """Names of the tensors of a graph that are float32, initialisers among them."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    found = {
        v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    initialisers = graph.initializer
    return found | {x.name for x in initialisers if x.data_type == TensorProto.FLOAT}


def taken_inside(node: NodeProto) -> Iterator[str]:
    """Names that the bodies of a node (If, Loop, Scan) may take from outside."""
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            for inner in body.node:
                yield from inner.input
                yield from taken_inside(inner)
            yield from (output.name for output in body.output)
