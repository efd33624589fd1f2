# Copyright (c) mmfdta authors.
"""Multi-scale deformable attention (Zhu et al. 2021), on a CPU as sparse products.

An output is a weighted sum of the four pixels around each sampling point: a row of a
sparse matrix with known columns, times the values. MMCV's PyTorch path spends most of
its time elsewhere: `grid_sample` reads one channel after the other, and the samples are
stored, stacked and multiplied. Here

- the forward pass is an `embedding_bag`, which reads whole rows of values;
- the gradient of a weight is one element of `grad_output @ values.T`, and
  `sampled_addmm` computes only those that are needed;
- the gradient of the values is the product with the transposed matrix, which SciPy
  computes without transposing it.

Values get a border of zeros, so that no point needs a mask, and queries are taken in
blocks that stay in the caches. An encoder layer at 1440x800 takes 0.13 to 0.17 s and
not 1.28 s (one thread of a Zen 5); the kind of processor matters little, because
reading memory is most of it.
"""

import functools
import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttention
from scipy.sparse import csc_array
from torch import Tensor
from torch.autograd.function import once_differentiable

from .processor import is_recorded

# PyTorch says so at the first sparse matrix of every process.
warnings.filterwarnings('ignore', 'Sparse CSR tensor support is in beta')
# Points that the forward pass takes at once; what is computed of them fits in a cache.
_BLOCK_POINTS = 1 << 15
# Points of whole images that the backward pass takes at once; bounds its memory.
_BACKWARD_POINTS = 1 << 20


@dataclass(frozen=True)
class _Layout:
    """Where the levels stand in the table of values, for points (heads, L, P).

    A level of (h, w) has a row of zeros above and below and a zero in front of each
    row, which also ends the row before it.

    Attributes:
        shapes: (h, w) of each level.
        starts: First cell of each level, and their number.
        right: (H * L * P,) float, w + 1, the largest x in the bordered level.
        bottom: (H * L * P,) float, h + 1.
        last_column: (H * L * P,) int32, the last column that has a neighbour.
        last_row: (H * L * P,) int32.
        row_step: (H * L * P,) int32, table rows from a row of cells to the next.
        first: (H * L * P,) int32, table row of the first cell.
    """

    shapes: tuple[tuple[int, int], ...]
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
    shapes: tuple[tuple[int, int], ...], heads: int, points: int, dtype: torch.dtype
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
        weights: (n, H, 4, L * P), what each is multiplied by.
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
            layout: Of the table.

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
        # Outside nothing changes; the borders' neighbours are not zero.
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
        layout: Of the table.
        heads: H.
    """
    by_head = (heads, x.shape[1] // heads)
    zero, none = x.new_zeros(()), layout.first.new_zeros(())
    right = torch.clamp(x + 1, zero, layout.right)
    below = torch.clamp(y + 1, zero, layout.bottom)
    # Clamped again, because a point that is NaN has to stay in the table.
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


class _SparseSampling(torch.autograd.Function):
    """`deformable_sampling` of float32 or float64 tensors on a CPU."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        value: Tensor,
        x: Tensor,
        y: Tensor,
        weights: Tensor,
        shapes: tuple[tuple[int, int], ...],
    ) -> Tensor:
        batch, queries, heads, _, points = x.shape
        layout = _layout_of(shapes, heads, points, value.dtype)
        table = value.new_zeros(batch, layout.cells, *value.shape[2:])
        for inner, level in zip(layout.inner(table), layout.split(value), strict=True):
            inner.copy_(level)
        ctx.save_for_backward(table, x, y, weights)
        ctx.layout = layout
        x, y, weights = (t.flatten(2).flatten(0, 1) for t in (x, y, weights))
        offset = _offsets(batch, queries, layout.cells * heads)
        rows = table.view(-1, value.shape[-1])
        out = value.new_empty(batch * queries, *value.shape[2:])
        step = max(1, _BLOCK_POINTS // max(1, x.shape[1]))
        for start in range(0, len(x), step):
            here = slice(start, start + step)
            corners = _corners(
                x[here], y[here], weights[here], offset[here], layout, heads
            )
            columns, shares = corners.matrix()
            block = F.embedding_bag(
                columns, rows, per_sample_weights=shares, mode='sum'
            )
            out[here] = block.view_as(out[here])
        return out.flatten(1).unflatten(0, (batch, queries))

    @staticmethod
    @once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad_output: Tensor
    ) -> tuple[Tensor | None, ...]:
        table, *points = ctx.saved_tensors
        layout, shape = ctx.layout, points[0].shape
        grads = [torch.zeros_like(t) for t in (table, *points)]
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
        value_grad = [t.flatten(1, 2) for t in layout.inner(grads[0])]
        return torch.cat(value_grad, dim=1), *grads[1:], None


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
        layout: Of the table.
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


def deformable_sampling(
    value: Tensor,
    shapes: Sequence[Sequence[int]],
    x: Tensor,
    y: Tensor,
    weights: Tensor,
) -> Tensor:
    """Weighted sums of bilinear samples of several levels, zero outside of them.

    Args:
        value: (B, S, H, D), S the sum of h * w over the L levels, on a CPU.
        shapes: (h, w) of each level.
        x: Columns in pixels of their level, 0 in the middle of the first one,
            (B, Q, H, L, P).
        y: Rows in pixels, like x.
        weights: What samples are multiplied by, like x.

    Returns:
        (B, Q, H * D), of the type that value and weights promote to; computed in
        float32 at least.
    """
    out_dtype = torch.promote_types(value.dtype, weights.dtype)
    dtype = torch.promote_types(out_dtype, torch.float32)
    levels = tuple((int(h), int(w)) for h, w in shapes)
    args = (t.to(dtype) for t in (value, x, y, weights))
    return _SparseSampling.apply(*args, levels).to(out_dtype)


class FastDeformableAttention(MultiScaleDeformableAttention):
    """MMCV's module, on a CPU by `deformable_sampling`.

    On other devices, and where operations are recorded, it is MMCV's own.
    """

    sample = staticmethod(deformable_sampling)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        *,
        reference_points: Tensor,
        spatial_shapes: Tensor,
        level_start_index: Tensor | None = None,
        **kwargs: object,
    ) -> Tensor:
        """Sample the value around the reference points, and add the identity.

        Args:
            query: (B, Q, C), or (Q, B, C) without `batch_first`.
            key: Not used; part of the interface of attention.
            value: (B, S, C), or (S, B, C); the query if omitted.
            identity: Like the query, which it is if omitted.
            query_pos: Added to the query.
            key_padding_mask: (B, S) bool, True = padding.
            reference_points: Points (B, Q, L, 2) or boxes (B, Q, L, 4), in 0..1.
            spatial_shapes: (H, W) of each level, int64 (L, 2).
            level_start_index: Follows from the shapes.
            **kwargs: Not used; part of the interface of attention.

        Returns:
            Like the query.
        """
        if query.device.type != 'cpu' or is_recorded():
            return super().forward(
                query,
                key,
                value,
                identity,
                query_pos,
                key_padding_mask,
                reference_points=reference_points,
                spatial_shapes=spatial_shapes,
                level_start_index=level_start_index,
                **kwargs,
            )
        value = query if value is None else value
        identity = query if identity is None else identity
        query = query if query_pos is None else query + query_pos
        if not self.batch_first:
            query, value = query.transpose(0, 1), value.transpose(0, 1)
        value = self.value_proj(value)
        if key_padding_mask is not None:
            value = value.masked_fill(key_padding_mask[..., None], 0.0)
        value = value.unflatten(-1, (self.num_heads, -1))
        grid = self.num_levels, self.num_points
        offsets = self.sampling_offsets(query).unflatten(-1, (self.num_heads, *grid, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.num_heads, -1))
        weights = weights.softmax(-1).unflatten(-1, grid)
        shapes = spatial_shapes.tolist()
        # In pixels of the levels; offsets from a point are pixels, from a box shares
        # of half its size.
        size = reference_points.new_tensor([(w, h) for h, w in shapes])
        centre = reference_points[..., :2] * size - 0.5
        if reference_points.shape[-1] == 4:
            reach = reference_points[..., 2:] * size * (0.5 / self.num_points)
            offsets = offsets * reach[:, :, None, :, None]
        x, y = (offsets + centre[:, :, None, :, None]).unbind(-1)
        output = self.sample(value, shapes, x, y, weights)
        output = self.output_proj(output)
        if not self.batch_first:
            output = output.transpose(0, 1)
        return self.dropout(output) + identity
