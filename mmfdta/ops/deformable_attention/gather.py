# Copyright (c) mmfdta authors.
"""Deformable sampling in ONNX: rows of a table are gathered, and multiplied.

ONNX's own operator, GridSample, reads one channel after the other, and some graph
compilers compute it incorrectly. Here, as in `sparse.py`, a row has the values of one
head in one pixel, levels have borders of zeros, and an output is a weighted sum of four
rows for each point: a product of a vector and a matrix. A loop processes blocks of
queries, whose rows stay in the caches; those of all queries of 1440x800 would need
1.6 GB. If all sizes are known, the blocks are written out instead, for compilers that
do not support loops.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnxscript import ir

from ..onnx_writing import (
    FLOAT,
    INT32,
    floats,
    in_blocks,
    ints,
    join,
    lengths_of,
    op,
    scan,
    written_out,
)

# Queries of a block, in a loop and written out.
_BLOCK = 64
_WRITTEN_OUT = 1024


def gathered_sampling(
    value: ir.Value,
    x: ir.Value,
    y: ir.Value,
    weights: ir.Value,
    shapes: Sequence[ir.Value | int],
    way: str = '',
    centre: ir.Value | None = None,
) -> ir.Value:
    """Write `deformable_sampling`, whose arguments these are.

    Args:
        value: float32 (B, S, H, D); B and S may be any number, as may Q below.
        x: float32 (B, Q, H, L, P).
        y: Like x.
        weights: Like x.
        shapes: Height and width of each level, one after the other.
        way: Not used; the implementation in PyTorch.
        centre: float32 (B, Q, L, 2).

    Returns:
        (B, Q, H * D).

    Raises:
        ValueError: If H, D, L or P is not known.
    """
    heads, levels, points = lengths_of(x, 2, 3, 4)
    (channels,), samples = lengths_of(value, 3), levels * points
    heights, widths = shapes[::2], shapes[1::2]
    table, starts, cells = _table(value, heights, widths)
    batch, queries = (op.Shape(x, start=axis, end=axis + 1) for axis in (0, 1))
    # For each point of a query, (H, L * P): its level in numbers, the cells from one to
    # that below it, and the row of the table where level and head start.
    each, flat = ints(heads, levels, points), ints(heads, samples)
    width, height, first = (
        op.Reshape(op.Expand(op.Unsqueeze(n, ints(1)), each), flat)
        for n in (join(*widths), join(*heights), starts)
    )
    step = op.Cast(op.Add(width, ints(1)), to=INT32)
    head = op.Mul(_count(heads), cells)
    head = op.Reshape(op.Expand(op.Unsqueeze(head, ints(1, 2)), each), flat)
    first = op.Cast(op.Add(first, head), to=INT32)
    width, height = op.Cast(width, to=FLOAT), op.Cast(height, to=FLOAT)
    # And where the image of each query starts, (B, Q).
    image = op.Mul(_count(op.Squeeze(batch)), op.Mul(cells, ints(heads)))
    image = op.Expand(op.Unsqueeze(image, ints(1)), op.Concat(batch, queries, axis=0))
    image = op.Cast(image, to=INT32)
    # Numbers and shapes are constants outside the loop, whose body reads them.
    zero, one, next_cell = floats(0.0), floats(1.0), op.Cast(ints(1), to=INT32)
    right, bottom = op.Add(width, one), op.Add(height, one)
    by_head, as_vector = ints(0, heads, samples), ints(0, heads, 1, 4 * samples)
    as_output = ints(0, heads * channels)
    # Multiplied by this, the centre in a level goes to all of its points,
    # (L, H * L * P): a product is several times as fast as adding numbers to runs of P.
    same = np.eye(levels, dtype=np.float32)[:, None, :, None]
    same = np.tile(same, (1, heads, 1, points)).reshape(levels, -1)
    to_points = op.Constant(value=ir.tensor(same))

    def sample(
        to: Any,
        x: ir.Value,
        y: ir.Value,
        weights: ir.Value,
        image: ir.Value,
        *centre: ir.Value,
    ) -> ir.Value:
        """Sample for some queries; x, y and weights are (n, H, L * P)."""
        if centre:
            x, y = (
                to.Add(offset, to.Reshape(to.MatMul(middle, to_points), by_head))
                for offset, middle in zip((x, y), centre, strict=True)
            )
        x = to.Min(to.Max(to.Add(x, one), zero), right)
        y = to.Min(to.Max(to.Add(y, one), zero), bottom)
        column, row = to.Min(to.Floor(x), width), to.Min(to.Floor(y), height)
        x, y = to.Sub(x, column), to.Sub(y, row)
        cell = to.Mul(to.Cast(row, to=INT32), step)
        cell = to.Add(to.Add(cell, to.Cast(column, to=INT32)), to.Add(first, image))
        below = to.Add(cell, step)
        corners = cell, to.Add(cell, next_cell), below, to.Add(below, next_cell)
        lower = to.Mul(weights, y)
        upper = to.Sub(weights, lower)
        upper_right, lower_right = to.Mul(upper, x), to.Mul(lower, x)
        upper_left, lower_left = to.Sub(upper, upper_right), to.Sub(lower, lower_right)
        shares = upper_left, upper_right, lower_left, lower_right
        indices, vectors = to.Concat(*corners, axis=2), to.Concat(*shares, axis=2)
        rows = to.Gather(table, indices, axis=0)
        return to.Reshape(to.MatMul(to.Reshape(vectors, as_vector), rows), as_output)

    # Tensors (B, Q, ...), their types, and the shape of one query in each.
    inputs: list[tuple[ir.Value, ir.DataType, tuple[int, ...]]] = [
        (t, FLOAT, (heads, samples)) for t in (x, y, weights)
    ]
    inputs.append((image, INT32, (1, 1)))
    if centre is not None:
        parts = op.Split(centre, axis=3, num_outputs=2)
        inputs += [(part, FLOAT, (levels,)) for part in parts]
    tensors, types, each_has = zip(*inputs, strict=True)
    known = x.shape[1] if x.shape is not None else None
    if isinstance(known, int) and all(isinstance(n, int) for n in shapes):

        def sample_images(to: Any, *tensors: ir.Value) -> ir.Value:
            """Sample for some queries of each image."""
            rows = zip(tensors, each_has, strict=True)
            sums = sample(to, *(to.Reshape(t, ints(-1, *has)) for t, has in rows))
            shape = op.Concat(batch, ints(-1, heads * channels), axis=0)
            return to.Reshape(sums, shape)

        return written_out(sample_images, tensors, known, _WRITTEN_OUT)
    output = scan(
        sample,
        [
            in_blocks(op.Reshape(t, ints(-1, *has)), len(has), _BLOCK)
            for t, has in zip(tensors, each_has, strict=True)
        ],
        types,
    )
    output = op.Reshape(output, ints(-1, heads * channels))
    output = op.Slice(output, ints(0), op.Mul(batch, queries), ints(0))
    return op.Reshape(output, op.Concat(batch, queries, ints(heads * channels), axis=0))


def _table(
    value: ir.Value,
    heights: Sequence[ir.Value | int],
    widths: Sequence[ir.Value | int],
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Write the values of all levels as rows.

    A level of (h, w) has a row of zeros above and below and a zero in front of each
    row, which also ends the row before it.

    Returns:
        (B * H * cells, D), the first cell of each level (L,), and the cells of an image
        (1,).
    """
    heads, channels = lengths_of(value, 2, 3)
    levels, starts, cells, key = [], [], ints(0), ints(0)
    for height, width in zip(heights, widths, strict=True):
        size = join(height, width)
        end = op.Add(key, op.ReduceProd(size))
        level = op.Slice(value, key, end, ints(1))
        shape = op.Concat(ints(0), size, ints(heads * channels), axis=0)
        level = op.Reshape(level, shape)
        level = op.Pad(level, ints(0, 1, 1, 0, 0, 1, 0, 0))
        levels.append(op.Reshape(level, ints(0, -1, heads, channels)))
        starts.append(cells)
        cells = op.Add(cells, op.ReduceProd(op.Add(size, ints(2, 1))))
        key = end
    # One more cell ends the last row.
    table = op.Pad(op.Concat(*levels, axis=1), ints(0, 0, 0, 0, 0, 1, 0, 0))
    cells = op.Add(cells, ints(1))
    table = op.Reshape(op.Transpose(table, perm=(0, 2, 1, 3)), ints(-1, channels))
    return table, op.Concat(*starts, axis=0), cells


def _count(end: ir.Value | int) -> ir.Value:
    """Write 0, 1, ... up to a number."""
    if not isinstance(end, ir.Value):
        end = op.Constant(value_int=end)
    return op.Range(op.Constant(value_int=0), end, op.Constant(value_int=1))
