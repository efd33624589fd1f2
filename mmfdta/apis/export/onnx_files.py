# Copyright (c) mmfdta authors.
"""From a network to an ONNX file that every onnxruntime of today reads."""

import contextlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxscript import ir
from torch import Tensor, nn

from mmfdta.ops.onnx_forms import onnx_translations

from .detector_graph import DetectorGraph

OPSET = 18
# The lowest that has this opset.
_IR_VERSION = 8
DATA_SUFFIX = '.data'
"""What the name of a file of weights has behind that of its graph."""
# ONNX is protocol buffers, which end at 2 GiB.
_LARGEST = 1536 * 1024**2
# Compilers of graphs have got it wrong without a word.
_REFUSED = ('GridSample',)


def to_onnx(
    graph: nn.Module,
    example: Mapping[str, Tensor],
    dynamic: Mapping[str, Mapping[int, Any]],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    """Record a network as ONNX.

    Args:
        graph: In evaluation mode.
        example: Its inputs by name; it runs on them once.
        dynamic: Axes of the inputs that have any length: input -> axis -> name.
        outputs: Names of what it returns.

    Returns:
        Simplified; nodes know the modules that they come from (``metadata_props``).

    Raises:
        RuntimeError: If PyTorch cannot record it, or not for any length of these axes.
    """
    shapes = {name: dict(dynamic.get(name, {})) for name in example}
    # The exporter's own form of attention is the better one for the few keys of
    # association.
    forms = onnx_translations() if isinstance(graph, DetectorGraph) else None
    with torch.no_grad(), _quiet():
        try:
            program = torch.onnx.export(
                graph,
                kwargs=dict(example),
                input_names=list(example),
                output_names=list(outputs),
                opset_version=OPSET,
                dynamic_shapes=shapes,
                dynamo=True,
                optimize=True,
                verbose=False,
                custom_translation_table=forms,
            )
        except torch.onnx.OnnxExporterError as error:
            cause, *_ = str(error.__cause__ or error).strip().splitlines() or ['']
            raise RuntimeError(
                f'{type(graph).__name__}: PyTorch {torch.__version__} cannot record '
                f'the network as ONNX ({cause}); --traceback shows where'
            ) from error
    assert program is not None
    _keep_constants(program.model.graph)
    model = program.model_proto
    for value in model.graph.input:
        for axis in shapes[value.name]:
            dimension = value.type.tensor_type.shape.dim[axis]
            if dimension.HasField('dim_value'):
                raise RuntimeError(
                    f'{type(graph).__name__}: axis {axis} of {value.name} is always '
                    f'{dimension.dim_value} in what PyTorch records, expected any '
                    'length; a module of the network reads sizes as numbers and cannot '
                    'be exported as it is'
                )
    return model


def _keep_constants(graph: ir.Graph) -> None:
    """Register constants that nodes read, but the graph has lost.

    The optimiser of onnxscript names the limits of a fused clip after its input, so
    those of two clips of one value have one name. It keeps the later ones, and renames
    the others only where they are read.
    """
    for node in graph.all_nodes():
        for value in node.inputs:
            if value is None or value.const_value is None or value.producer():
                continue
            if not value.is_initializer() and not value.is_graph_input():
                graph.register_initializer(value)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter tells its developers from the user."""
    names = ('torch.onnx', 'onnxscript', 'onnx_ir', 'torch.export')
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def operators(model: onnx.ModelProto) -> Counter[str]:
    """Count the operators of a model, those of inner graphs and functions too.

    Args:
        model: Any.

    Returns:
        Name, with its domain unless it is ONNX's own, -> how many.
    """
    counts: Counter[str] = Counter()

    def count(nodes: Any) -> None:
        for node in nodes:
            domain = '' if node.domain in ('', 'ai.onnx') else f'{node.domain}.'
            counts[f'{domain}{node.op_type}'] += 1
            for attribute in node.attribute:
                for inner in _inner(attribute):
                    count(inner.node)

    count(model.graph.node)
    for function in model.functions:
        count(function.node)
    return counts


def save_onnx(model: onnx.ModelProto, path: Path) -> list[Path]:
    """Write a model.

    Args:
        model: It is stripped of what only its making needs: names of modules and
            lines of source.
        path: Where to.

    Returns:
        Files of weights that were written next to it; none if they fit in.

    Raises:
        ValueError: If it has operators that are not to be in an exported model.
    """
    found = operators(model)
    wrong = [name for name in found if '.' in name or name in _REFUSED]
    if wrong:
        raise ValueError(
            f'{path.name}: the graph has the operators {", ".join(sorted(wrong))}, '
            'expected standard ones without GridSample only; a module of the model '
            'cannot be exported as it is'
        )
    strip(model)
    own = [o for o in model.opset_import if o.domain in ('', 'ai.onnx')]
    del model.opset_import[:]
    model.opset_import.extend(own)
    model.ir_version = _IR_VERSION
    data = path.with_name(f'{path.name}{DATA_SUFFIX}')
    if model.ByteSize() <= _LARGEST:
        path.write_bytes(model.SerializeToString(deterministic=True))
        return []
    # An existing file would be appended to.
    data.unlink(missing_ok=True)
    onnx.save_model(
        model,
        str(path),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=data.name,
    )
    return [data]


def strip(model: onnx.ModelProto) -> None:
    """Remove names of modules, lines of source and remarks from a model."""

    def clean(item: Any) -> None:
        item.ClearField('doc_string')
        item.ClearField('metadata_props')

    def clean_graph(graph: onnx.GraphProto) -> None:
        clean(graph)
        for values in (graph.input, graph.output, graph.value_info, graph.initializer):
            for value in values:
                clean(value)
        for node in graph.node:
            clean(node)
            for attribute in node.attribute:
                for inner in _inner(attribute):
                    clean_graph(inner)

    clean(model)
    clean_graph(model.graph)


def _inner(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    own = [attribute.g] if attribute.HasField('g') else []
    return [*own, *attribute.graphs]
