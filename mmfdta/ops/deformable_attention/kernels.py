# Copyright (c) mmfdta authors.
"""Triton kernels of deformable sampling; importing this needs Triton.

A program processes the points of some queries in one head. Programs of the heads of a
query follow one another, because they read pixels next to each other in memory. Reading
pixels takes most of the time: the channels of a pixel are read at once, 16 bytes per
thread, and the points of a level are unrolled, so that many reads are in flight.
Everything is computed in the type of the centres, float32 or float64. The sizes of the
levels are in a tensor, so that a kernel is compiled once for a model and not for each
size of its images.
"""

import triton
import triton.language as tl


@triton.jit
def _place(image, block, head, queries, HEADS: tl.constexpr, BLOCK: tl.constexpr):
    """Rows (image, query, head) of a block, and which of them exist."""
    query = block * BLOCK + tl.arange(0, BLOCK)
    row = (image.to(tl.int64) * queries + query) * HEADS + head
    return row, query < queries


@triton.jit
def _corners(x, y, height, width, start):
    """Find the four pixels around points.

    Returns the upper left one, the shares of the right and the lower ones, and which of
    left, right, upper and lower exist. A point that is NaN is outside.
    """
    inside = (x > -1) & (x < width) & (y > -1) & (y < height)
    x = tl.where(inside, x, 0.0)
    y = tl.where(inside, y, 0.0)
    left = tl.floor(x)
    top = tl.floor(y)
    column = left.to(tl.int32)
    row = top.to(tl.int32)
    cell = start + row.to(tl.int64) * width + column
    return (
        cell,
        x - left,
        y - top,
        inside & (column >= 0),
        inside & (column + 1 < width),
        row >= 0,
        row + 1 < height,
    )


@triton.jit(do_not_specialize=['keys', 'queries'])
def forward_kernel(
    value,
    x,
    y,
    weights,
    centre,
    levels,
    output,
    keys,
    queries,
    HEADS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    STEP: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Sample the values.

    Args:
        value: (B, keys, HEADS, CHANNELS).
        x: (B, queries, HEADS, LEVELS, POINTS), with a stride of STEP numbers.
        y: Like x.
        weights: Like x, without gaps.
        centre: (B, queries, LEVELS, 2), added to x and y.
        levels: int32 (LEVELS, 3), height, width and first key.
        output: (B, queries, HEADS, CHANNELS).
        keys: S.
        queries: Q.
        BLOCK: Queries of a program, a power of 2.
        WIDTH: The smallest power of 2 that is at least CHANNELS.
    """
    program = tl.program_id(0)
    head = program % HEADS
    blocks = tl.cdiv(queries, BLOCK)
    image = program // HEADS // blocks
    row, exists = _place(image, program // HEADS % blocks, head, queries, HEADS, BLOCK)
    channel = tl.arange(0, WIDTH)
    real = (channel < CHANNELS)[None, :]
    PIXEL: tl.constexpr = HEADS * CHANNELS
    pixels = value + image.to(tl.int64) * keys * PIXEL + head * CHANNELS + channel
    pixels = pixels[None, :]
    total = tl.zeros([BLOCK, WIDTH], dtype=centre.dtype.element_ty)
    for level in range(LEVELS):
        height = tl.load(levels + 3 * level)
        width = tl.load(levels + 3 * level + 1)
        start = tl.load(levels + 3 * level + 2)
        middle = centre + (row // HEADS * LEVELS + level) * 2
        middle_x = tl.load(middle, mask=exists, other=0.0)
        middle_y = tl.load(middle + 1, mask=exists, other=0.0)
        for point in tl.static_range(POINTS):
            at = (row * LEVELS + level) * POINTS + point
            px = (
                tl.load(x + at * STEP, mask=exists, other=0.0).to(middle_x.dtype)
                + middle_x
            )
            py = (
                tl.load(y + at * STEP, mask=exists, other=0.0).to(middle_y.dtype)
                + middle_y
            )
            weight = tl.load(weights + at, mask=exists, other=0.0).to(px.dtype)
            # NaN must reach the output.
            weight = tl.where((px == px) & (py == py), weight, px + py)
            cell, right, below, in_left, in_right, in_top, in_bottom = _corners(
                px, py, height, width, start
            )
            upper = pixels + (cell * PIXEL)[:, None]
            lower = upper + width.to(tl.int64) * PIXEL
            in_left, in_right = in_left & exists, in_right & exists
            mask = (in_left & in_top)[:, None] & real
            pixel = tl.load(upper, mask=mask, other=0.0).to(px.dtype)
            total += (weight * (1 - right) * (1 - below))[:, None] * pixel
            mask = (in_right & in_top)[:, None] & real
            pixel = tl.load(upper + PIXEL, mask=mask, other=0.0).to(px.dtype)
            total += (weight * right * (1 - below))[:, None] * pixel
            mask = (in_left & in_bottom)[:, None] & real
            pixel = tl.load(lower, mask=mask, other=0.0).to(px.dtype)
            total += (weight * (1 - right) * below)[:, None] * pixel
            mask = (in_right & in_bottom)[:, None] & real
            pixel = tl.load(lower + PIXEL, mask=mask, other=0.0).to(px.dtype)
            total += (weight * right * below)[:, None] * pixel
    place = output + (row * CHANNELS)[:, None] + channel[None, :]
    tl.store(place, total.to(output.dtype.element_ty), mask=exists[:, None] & real)


@triton.jit
def _backward_corner(gradient, pixel, grad_pixel, share, mask):
    """Add to the gradient of pixels; return their products with that of the output."""
    value = tl.load(pixel, mask=mask, other=0.0).to(gradient.dtype)
    added = share[:, None] * gradient
    tl.atomic_add(grad_pixel, added, mask=mask, sem='relaxed')
    return tl.sum(value * gradient, axis=1)


@triton.jit(do_not_specialize=['keys', 'queries'])
def backward_kernel(
    grad_output,
    value,
    x,
    y,
    weights,
    centre,
    levels,
    grad_value,
    grad_x,
    grad_y,
    grad_weights,
    keys,
    queries,
    HEADS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    STEP: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Compute the gradients; see `forward_kernel`.

    Args:
        grad_output: Like the output.
        grad_value: Like value, of the type of the centre, initially zero; programs add
            to it.
        grad_x: Like x, without gaps, as are grad_y and grad_weights.
    """
    program = tl.program_id(0)
    head = program % HEADS
    blocks = tl.cdiv(queries, BLOCK)
    image = program // HEADS // blocks
    row, exists = _place(image, program // HEADS % blocks, head, queries, HEADS, BLOCK)
    channel = tl.arange(0, WIDTH)
    real = (channel < CHANNELS)[None, :]
    PIXEL: tl.constexpr = HEADS * CHANNELS
    first = image.to(tl.int64) * keys * PIXEL + head * CHANNELS + channel[None, :]
    place = grad_output + (row * CHANNELS)[:, None] + channel[None, :]
    gradient = tl.load(place, mask=exists[:, None] & real, other=0.0)
    gradient = gradient.to(centre.dtype.element_ty)
    for level in range(LEVELS):
        height = tl.load(levels + 3 * level)
        width = tl.load(levels + 3 * level + 1)
        start = tl.load(levels + 3 * level + 2)
        middle = centre + (row // HEADS * LEVELS + level) * 2
        middle_x = tl.load(middle, mask=exists, other=0.0)
        middle_y = tl.load(middle + 1, mask=exists, other=0.0)
        for point in range(POINTS):
            at = (row * LEVELS + level) * POINTS + point
            px = (
                tl.load(x + at * STEP, mask=exists, other=0.0).to(middle_x.dtype)
                + middle_x
            )
            py = (
                tl.load(y + at * STEP, mask=exists, other=0.0).to(middle_y.dtype)
                + middle_y
            )
            weight = tl.load(weights + at, mask=exists, other=0.0).to(px.dtype)
            weight = tl.where((px == px) & (py == py), weight, px + py)
            cell, right, below, in_left, in_right, in_top, in_bottom = _corners(
                px, py, height, width, start
            )
            upper = first + (cell * PIXEL)[:, None]
            lower = upper + width.to(tl.int64) * PIXEL
            in_left, in_right = in_left & exists, in_right & exists
            left_above = _backward_corner(
                gradient,
                value + upper,
                grad_value + upper,
                weight * (1 - right) * (1 - below),
                (in_left & in_top)[:, None] & real,
            )
            right_above = _backward_corner(
                gradient,
                value + upper + PIXEL,
                grad_value + upper + PIXEL,
                weight * right * (1 - below),
                (in_right & in_top)[:, None] & real,
            )
            left_below = _backward_corner(
                gradient,
                value + lower,
                grad_value + lower,
                weight * (1 - right) * below,
                (in_left & in_bottom)[:, None] & real,
            )
            right_below = _backward_corner(
                gradient,
                value + lower + PIXEL,
                grad_value + lower + PIXEL,
                weight * right * below,
                (in_right & in_bottom)[:, None] & real,
            )
            above = left_above + right * (right_above - left_above)
            under = left_below + right * (right_below - left_below)
            slope = right_above - left_above
            slope += below * (right_below - left_below - slope)
            tl.store(
                grad_x + at, (weight * slope).to(grad_x.dtype.element_ty), mask=exists
            )
            tl.store(
                grad_y + at,
                (weight * (under - above)).to(grad_y.dtype.element_ty),
                mask=exists,
            )
            total = above + below * (under - above)
            tl.store(
                grad_weights + at, total.to(grad_weights.dtype.element_ty), mask=exists
            )
