# Copyright (c) mmfdta authors.
"""Deformable sampling on a CPU, as sparse products.

An output is a weighted sum of the four pixels around each sampling point: a row of a
sparse matrix with known columns, times the values. MMCV's PyTorch path spends most of
its time elsewhere: `grid_sample` reads one channel after the other, and the samples are
stored, stacked and multiplied. In this module

- the forward pass is an `embedding_bag`, which reads whole rows of values;
- the gradient of a weight is one element of `grad_output @ values.T`, and
  `sampled_addmm` computes only those elements;
- the gradient of the values is the product with the transposed matrix, which SciPy
  computes without transposing it.

Values get a border of zeros, so that no point needs a mask, and queries are processed
in blocks that stay in the caches. An encoder layer at 1440x800 takes 0.13 to 0.17 s
instead of 1.28 s (one thread of a Zen 5); the kind of processor matters little, because
reading memory takes most of the time.
"""

import functools
import itertools
import warnings
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.sparse import csc_array
from torch import Tensor

from .levels import LevelShapes

# PyTorch warns at the first sparse matrix of every process.
warnings.filterwarnings('ignore', 'Sparse CSR tensor support is in beta')
# Points that the forward pass processes at once; their tensors fit into a cache.
_BLOCK_POINTS = 1 << 15
# Points of complete images that the backward pass processes at once; limits its memory.
_BACKWARD_POINTS = 1 << 20


@dataclass(frozen=True)
class _Layout:
    """Places of the levels in the table of values, for points (heads, L, P).

    A level of (h, w) has a row of zeros above and below and a zero in front of each
    row, which also ends the row before it.

    Attributes:
        shapes: (h, w) of each level.
        starts: First cell of each level, and the number of all cells.
        right: (H * L * P,) float, w + 1, the largest x in the bordered level.
        bottom: (H * L * P,) float, h + 1.
        last_column: (H * L * P,) int32, the last column that has a neighbour.
        last_row: (H * L * P,) int32.
        row_step: (H * L * P,) int32, table rows from a row of cells to the next.
        first: (H * L * P,) int32, table row of the first cell.
    """

    shapes: LevelShapes
    starts: tuple[int, ...]
    right: Tensor
    bottom: Tensor
    last_column: Tensor
    last_row: Tensor
    row_step: Tensor
    first: Tensor

    @property
    def cells(self) -> int:
        """Cells of an image; one more ends the last row."""
        return self.starts[-1] + 1

    def inner(self, table: Tensor) -> list[Tensor]:
        """Views (B, h, w, H, D) of the levels in a table (B, cells, H, D)."""
        views = []
        for (height, width), start in zip(self.shapes, self.starts, strict=False):
            level = table[:, start : start + (height + 2) * (width + 1)]
            level = level.unflatten(1, (height + 2, width + 1))
            views.append(level[:, 1:-1, 1:])
        return views

    def split(self, value: Tensor) -> list[Tensor]:
        """Views (B, h, w, H, D) of the levels in values (B, S, H, D)."""
        parts = value.split([h * w for h, w in self.shapes], dim=1)
        return [x.unflatten(1, s) for x, s in zip(parts, self.shapes, strict=True)]


@functools.lru_cache(maxsize=256)
def _layout_of(
    shapes: LevelShapes, heads: int, points: int, dtype: torch.dtype
) -> _Layout:
    """Return the layout of levels (h, w); layouts in use are kept."""
    sizes = [(h + 2) * (w + 1) for h, w in shapes]
    starts = (0, *itertools.accumulate(sizes))
    height, width, start = (
        torch.tensor(x, dtype=torch.int32).repeat_interleave(points).repeat(heads)
        for x in (*zip(*shapes, strict=True), starts[:-1])
    )
    head = torch.arange(heads, dtype=torch.int32)
    return _Layout(
        shapes=shapes,
        starts=starts,
        right=(width + 1).to(dtype),
        bottom=(height + 1).to(dtype),
        last_column=width,
        last_row=height,
        row_step=(width + 1) * heads,
        first=start * heads + head.repeat_interleave(len(shapes) * points),
    )


@dataclass
class _Corners:
    """The four neighbours of n x H x (L * P) points.

    Attributes:
        rows: (n, H, 4, L * P) int32 rows of the table: left and right above, left and
            right below.
        weights: (n, H, 4, L * P), factor of each.
        right: (n, H, L * P) share of the right neighbours.
        below: (n, H, L * P) share of the lower neighbours.
    """

    rows: Tensor
    weights: Tensor
    right: Tensor
    below: Tensor

    def matrix(self) -> tuple[Tensor, Tensor]:
        """Columns and values of the sparse matrix, (n * H, 4 * L * P) each."""
        rows, weights = self.rows.flatten(2), self.weights.flatten(2)
        return rows.flatten(0, 1), weights.flatten(0, 1)

    def gradients(
        self, dots: Tensor, x: Tensor, y: Tensor, weights: Tensor, layout: _Layout
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of x, y and weights.

        Args:
            dots: (n, H, 4, L * P) product of each neighbour with the gradient of the
                output.
            x: (n, H * L * P).
            y: (n, H * L * P).
            weights: (n, H * L * P).
            layout: Layout of the table.

        Returns:
            Each (n, H * L * P).
        """
        left_above, right_above, left_below, right_below = dots.unbind(2)
        above = torch.lerp(left_above, right_above, self.right)
        below = torch.lerp(left_below, right_below, self.right)
        grad_weights = torch.lerp(above, below, self.below).flatten(1)
        grad_y = below.sub_(above).flatten(1).mul_(weights)
        grad_x = torch.lerp(
            right_above - left_above, right_below - left_below, self.below
        )
        grad_x = grad_x.flatten(1).mul_(weights)
        # Gradients outside a level are 0, but neighbours of the border are not.
        grad_x.mul_((x > -1) & (x < layout.right - 1))
        grad_y.mul_((y > -1) & (y < layout.bottom - 1))
        return grad_x, grad_y, grad_weights


def _corners(
    x: Tensor, y: Tensor, weights: Tensor, offset: Tensor, layout: _Layout, heads: int
) -> _Corners:
    """Find the neighbours of points.

    Args:
        x: (n, H * L * P) column in pixels, 0 in the middle of the first one.
        y: (n, H * L * P) row in pixels.
        weights: (n, H * L * P) attention weights.
        offset: (n, 1) int32, table row at which the image of each query starts.
        layout: Layout of the table.
        heads: Number of heads H.
    """
    by_head = (heads, x.shape[1] // heads)
    zero, none = x.new_zeros(()), layout.first.new_zeros(())
    right = torch.clamp(x + 1, zero, layout.right)
    below = torch.clamp(y + 1, zero, layout.bottom)
    # Clamped again, because a point that is NaN must also stay in the table.
    column = torch.clamp(right.int(), none, layout.last_column)
    row = torch.clamp(below.int(), none, layout.last_row)
    right = right.sub_(column).unflatten(1, by_head)
    below = below.sub_(row).unflatten(1, by_head)
    cell = row.mul_(layout.row_step).add_(column, alpha=heads).add_(layout.first)
    cell = cell.add_(offset).unflatten(1, by_head)
    next_row = cell + layout.row_step.view(by_head)

    shape = len(x), heads, 4, by_head[1]
    rows, shares = cell.new_empty(shape), weights.new_empty(shape)
    rows[:, :, 0], rows[:, :, 2] = cell, next_row
    torch.add(cell, heads, out=rows[:, :, 1])
    torch.add(next_row, heads, out=rows[:, :, 3])
    upper = weights.unflatten(1, by_head)
    lower = upper * below
    upper = upper - lower
    torch.sub(upper, torch.mul(upper, right, out=shares[:, :, 1]), out=shares[:, :, 0])
    torch.sub(lower, torch.mul(lower, right, out=shares[:, :, 3]), out=shares[:, :, 2])
    return _Corners(rows, shares, right, below)


def sparse_forward(
    value: Tensor, x: Tensor, y: Tensor, weights: Tensor, shapes: LevelShapes
) -> Tensor:
    """Sample float32 or float64 values on a CPU.

    Args:
        value: (B, S, H, D).
        x: Columns in pixels, (B, Q, H, L, P); all four tensors have one type.
        y: Rows in pixels, like x.
        weights: Like x.
        shapes: (h, w) of each level.

    Returns:
        (B, Q, H * D).
    """
    batch, queries, heads, _, points = x.shape
    layout = _layout_of(shapes, heads, points, value.dtype)
    x, y, weights = (t.flatten(2).flatten(0, 1) for t in (x, y, weights))
    offset = _offsets(batch, queries, layout.cells * heads)
    rows = _table(value, layout).view(-1, value.shape[-1])
    out = value.new_empty(batch * queries, *value.shape[2:])
    step = max(1, _BLOCK_POINTS // max(1, x.shape[1]))
    for start in range(0, len(x), step):
        here = slice(start, start + step)
        corners = _corners(x[here], y[here], weights[here], offset[here], layout, heads)
        columns, shares = corners.matrix()
        block = F.embedding_bag(columns, rows, per_sample_weights=shares, mode='sum')
        out[here] = block.view_as(out[here])
    return out.flatten(1).unflatten(0, (batch, queries))


def sparse_backward(
    grad_output: Tensor,
    value: Tensor,
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    shapes: LevelShapes,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of value, x, y and weights; see `sparse_forward`."""
    layout = _layout_of(shapes, x.shape[2], x.shape[4], value.dtype)
    table = _table(value, layout)
    points, shape = (x, y, weights), x.shape
    grads = [torch.zeros_like(table), *(x.new_zeros(shape) for _ in points)]
    step = max(1, _BACKWARD_POINTS // max(1, shape[1:].numel()))
    for start in range(0, shape[0] if shape.numel() else 0, step):
        here = slice(start, start + step)
        _backward_images(
            [t[here] for t in grads],
            grad_output[here],
            table[here],
            [t[here] for t in points],
            layout,
        )
    grad_value = torch.cat([t.flatten(1, 2) for t in layout.inner(grads[0])], dim=1)
    return grad_value, grads[1], grads[2], grads[3]


def _table(value: Tensor, layout: _Layout) -> Tensor:
    """Values with borders of zeros, (B, cells, H, D)."""
    table = value.new_zeros(len(value), layout.cells, *value.shape[2:])
    for inner, level in zip(layout.inner(table), layout.split(value), strict=True):
        inner.copy_(level)
    return table


def _offsets(batch: int, queries: int, rows: int) -> Tensor:
    """Table row of each query's image, (batch * queries, 1) int32."""
    offset = torch.arange(batch, dtype=torch.int32) * rows
    return offset.repeat_interleave(queries)[:, None]


def _backward_images(
    grads: list[Tensor],
    grad_output: Tensor,
    table: Tensor,
    points: list[Tensor],
    layout: _Layout,
) -> None:
    """Write the gradients of some images.

    Args:
        grads: Receive the gradients of table, x, y and weights.
        grad_output: (B, Q, H * D).
        table: (B, cells, H, D).
        points: x, y and weights, (B, Q, H, L, P).
        layout: Layout of the table.
    """
    batch, queries, heads = points[0].shape[:3]
    offset = _offsets(batch, queries, layout.cells * heads)
    x, y, weights = (t.flatten(2).flatten(0, 1) for t in points)
    corners = _corners(x, y, weights, offset, layout, heads)
    columns, shares = corners.matrix()
    rows = table.reshape(-1, table.shape[-1])
    grad_rows = grad_output.reshape(-1, table.shape[-1])
    ends = torch.arange(0, columns.numel() + 1, columns.shape[1], dtype=torch.int32)
    shape = len(columns), len(rows)
    arrays = [t.flatten() for t in (shares, columns, ends)]

    transposed = csc_array(tuple(t.numpy() for t in arrays), shape=shape[::-1])
    grads[0].copy_(torch.from_numpy(transposed @ grad_rows.numpy()).view_as(table))
    matrix = torch.sparse_csr_tensor(*arrays[::-1], shape, check_invariants=False)
    dots = torch.sparse.sampled_addmm(matrix, grad_rows, rows.t(), beta=0.0)
    dots = dots.values().view_as(corners.weights)
    gradients = corners.gradients(dots, x, y, weights, layout)
    for grad, gradient in zip(grads[1:], gradients, strict=True):
        grad.copy_(gradient.view_as(grad))
