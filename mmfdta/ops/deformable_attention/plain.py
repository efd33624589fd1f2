# Copyright (c) mmfdta authors.
"""Deformable sampling by PyTorch's `grid_sample`, on any device."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .levels import LevelShapes

# Most numbers of samples in memory at once; larger batches are split by images.
BLOCK_SAMPLES = 1 << 27
# Options of `grid_sampler_2d`: bilinear, zeros outside, corners are not aligned.
_OPTIONS = 0, 0, False


@dataclass
class _Level:
    """One level of some images.

    Attributes:
        images: Which images.
        index: Which level.
        keys: Places of its values among the keys.
        picture: Its values, (B * H, D, h, w).
        grid: Its points in -1..1, (B * H, Q, P, 2).
        weights: (B * H, Q, P).
        size: (w, h).
    """

    images: slice
    index: int
    keys: slice
    picture: Tensor
    grid: Tensor
    weights: Tensor
    size: tuple[int, int]


def _levels(
    value: Tensor, x: Tensor, y: Tensor, weights: Tensor, shapes: LevelShapes
) -> Iterator[_Level]:
    """Iterate over the levels that are not empty, of some images at once."""
    samples = x[0, ..., 0, :].numel() * value.shape[-1] if len(x) else 0
    step = max(1, BLOCK_SAMPLES // max(1, samples))
    for first in range(0, len(x), step):
        images, start = slice(first, first + step), 0
        for index, (height, width) in enumerate(shapes):
            keys = slice(start, start + height * width)
            start = keys.stop
            if height == 0 or width == 0:
                continue
            picture = value[images, keys].permute(0, 2, 3, 1).flatten(0, 1)
            at = images, slice(None), slice(None), index
            columns = (2 * x[at] + 1) / width - 1
            rows = (2 * y[at] + 1) / height - 1
            yield _Level(
                images,
                index,
                keys,
                picture.unflatten(-1, (height, width)),
                _by_picture(torch.stack([columns, rows], dim=-1)),
                _by_picture(weights[at]),
                (width, height),
            )


def _by_picture(points: Tensor) -> Tensor:
    """(B, Q, H, P, ...) -> (B * H, Q, P, ...)."""
    return points.transpose(1, 2).flatten(0, 1)


def _by_query(points: Tensor, heads: int) -> Tensor:
    """(B * H, Q, ...) -> (B, Q, H, ...)."""
    return points.unflatten(0, (-1, heads)).transpose(1, 2)


def plain_forward(
    value: Tensor, x: Tensor, y: Tensor, weights: Tensor, shapes: LevelShapes
) -> Tensor:
    """Sample one level after the other; arguments as of `sparse_forward`."""
    output = value.new_zeros(*x.shape[:3], value.shape[-1])
    for level in _levels(value, x, y, weights, shapes):
        samples = torch.grid_sampler_2d(level.picture, level.grid, *_OPTIONS)
        sums = (samples * level.weights[:, None]).sum(-1).transpose(1, 2)
        output[level.images] += _by_query(sums, x.shape[2])
    return output.flatten(2)


def plain_backward(
    grad_output: Tensor,
    value: Tensor,
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    shapes: LevelShapes,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of value, x, y and weights; samples are computed again."""
    heads = x.shape[2]
    grad_value = torch.zeros_like(value, memory_format=torch.contiguous_format)
    grad_x, grad_y, grad_weights = (x.new_zeros(x.shape) for _ in range(3))
    grad_output = grad_output.unflatten(-1, (heads, -1))
    for level in _levels(value, x, y, weights, shapes):
        at = level.images, slice(None), slice(None), level.index
        # (B * H, D, Q, 1)
        grad = _by_picture(grad_output[level.images]).transpose(1, 2)[..., None]
        samples = torch.grid_sampler_2d(level.picture, level.grid, *_OPTIONS)
        grad_weights[at] = _by_query((samples * grad).sum(1), heads)
        grad_picture, grad_grid = torch.ops.aten.grid_sampler_2d_backward(
            grad * level.weights[:, None],
            level.picture,
            level.grid,
            *_OPTIONS,
            [True, True],
        )
        rows = grad_picture.flatten(2).unflatten(0, (-1, heads)).permute(0, 3, 1, 2)
        grad_value[level.images, level.keys] = rows
        width, height = level.size
        grad_x[at] = _by_query(grad_grid[..., 0] * (2 / width), heads)
        grad_y[at] = _by_query(grad_grid[..., 1] * (2 / height), heads)
    return grad_value, grad_x, grad_y, grad_weights
