# Copyright (c) mmfdta authors.
"""Numbers and loops of ONNX graphs, for functions that write PyTorch's operators.

Such a function is in the ``custom_translation_table`` of ``torch.onnx.export``: it gets
values of the graph, and writes nodes by calling operators of ``onnxscript``.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnxscript import ir, opset18

# `Any`, because the declared argument types do not include values of a graph.
op: Any = opset18
FLOAT, INT32 = ir.DataType.FLOAT, ir.DataType.INT32
_numbers = itertools.count()


def lengths_of(value: ir.Value, *axes: int) -> list[int]:
    """Return lengths of axes.

    Raises:
        ValueError: If one is not known while the graph is written.
    """
    assert value.shape is not None
    lengths = []
    for axis in axes:
        length = value.shape[axis]
        if not isinstance(length, int):
            raise ValueError(
                f'ONNX: axis {axis} of {value.name} has any length, expected a number'
            )
        lengths.append(length)
    return lengths


def ints(*numbers: int) -> ir.Value:
    """Write int64 numbers, (n,)."""
    return op.Constant(value=ir.tensor(np.array(numbers, dtype=np.int64)))


def floats(*numbers: float) -> ir.Value:
    """Write float32 numbers, (n,)."""
    return op.Constant(value=ir.tensor(np.array(numbers, dtype=np.float32)))


def join(*sizes: ir.Value | int) -> ir.Value:
    """Write a shape, int64 (n,), from known numbers and from values (1,) or ()."""
    parts = [
        op.Reshape(size, ints(-1)) if isinstance(size, ir.Value) else ints(size)
        for size in sizes
    ]
    return op.Concat(*parts, axis=0)


class Body:
    """The graph inside a loop; its methods are operators and take inputs in order.

    It may read values of the graph around it; constants must be written there.
    """

    def __init__(self) -> None:
        self.tape = ir.tape.Tape()

    def __getattr__(self, operator: str) -> Callable[..., ir.Value]:
        def write(*inputs: ir.Value, **attributes: Any) -> ir.Value:
            value = self.tape.op(operator, inputs, attributes)
            value.name = new_name()
            return value

        return write


def new_name() -> str:
    """Return a name for a value inside a loop that is unique in its graph."""
    return f'inside_{next(_numbers)}'


def restart_names() -> None:
    """Restart the names for a new graph, so that they do not depend on earlier ones."""
    global _numbers
    _numbers = itertools.count()


def scan(
    body: Callable[..., ir.Value],
    rows: Sequence[ir.Value],
    types: Sequence[ir.DataType],
    writer: Any = op,
) -> ir.Value:
    """Write ONNX's ``Scan``: apply a body to each row of tensors and stack the results.

    Args:
        body: Function of a `Body` and of one row of each tensor; returns float32.
        rows: Tensors (n, ...).
        types: Types of their elements.
        writer: A `Body`, if this loop is inside another.
    """
    inner = Body()
    inputs = [ir.Value(name=new_name(), type=ir.TensorType(kind)) for kind in types]
    output = body(inner, *inputs)
    output.type = ir.TensorType(FLOAT)
    graph = ir.Graph(inputs, [output], nodes=inner.tape.nodes, name=new_name())
    return writer.Scan(*rows, body=graph, num_scan_inputs=len(rows))


def written_out(
    body: Callable[..., ir.Value],
    rows: Sequence[ir.Value],
    queries: int,
    size: int,
    axis: int = 1,
) -> ir.Value:
    """Write all steps of a loop over blocks of queries, one after the other.

    Args:
        body: Function of `op` and of some queries of each tensor; returns a tensor with
            the same axis of queries.
        rows: Tensors with an axis of queries.
        queries: Number of queries.
        size: Queries of a block.
        axis: Axis of the queries, in tensors and results.

    Returns:
        The concatenated results.
    """
    if queries <= size:
        return body(op, *rows)
    blocks = []
    for start in range(0, queries, size):
        ends = ints(start), ints(min(start + size, queries)), ints(axis)
        blocks.append(body(op, *(op.Slice(tensor, *ends) for tensor in rows)))
    return op.Concat(*blocks, axis=axis)


def in_blocks(tensor: ir.Value, others: int, size: int) -> ir.Value:
    """Split the rows of a tensor into blocks, of which the last is filled with zeros.

    Args:
        tensor: (R, ...).
        others: Number of axes after the rows.
        size: Rows of a block.

    Returns:
        (blocks, size, ...).
    """
    rows = op.Shape(tensor, start=0, end=1)
    missing, none = op.Mod(op.Neg(rows), ints(size)), (0,) * others
    ends = op.Concat(ints(0, *none), missing, ints(*none), axis=0)
    shape = op.Concat(ints(-1, size), op.Shape(tensor, start=1), axis=0)
    return op.Reshape(op.Pad(tensor, ends), shape)
