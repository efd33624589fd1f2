# Copyright (c) mmfdta authors.
"""Rules for the size of a frame after resizing."""

import math

Size = tuple[int, int]


def training_size(shape: Size, short: int, max_long: int | None = None) -> Size:
    """Size rule of training: the long side is rounded.

    Args:
        shape: (H, W) before resizing.
        short: Short side after resizing.
        max_long: Limit of the long side. If it would be exceeded, the short side is
            smaller, and rounded down.

    Returns:
        New (H, W).
    """
    height, width = shape
    low, high = float(min(shape)), float(max(shape))
    if max_long is not None and high / low * short > max_long:
        short = math.floor(max_long * low / high)
    if width < height:
        return round(short * height / width), short
    return short, round(short * width / height)


def inference_size(shape: Size, short: int, max_long: int | None = None) -> Size:
    """Size rule of inference: both sides are truncated, but at least 1.

    Args:
        shape: (H, W) before resizing.
        short: Short side after resizing.
        max_long: Limit of the long side.

    Returns:
        New (H, W).
    """
    height, width = shape
    low, high = min(shape), max(shape)
    new_low, new_high = short, int(short * high / low)
    if max_long is not None and new_high > max_long:
        new_low, new_high = max(1, int(max_long * new_low / new_high)), max_long
    return (new_low, new_high) if height <= width else (new_high, new_low)


def size_within(shape: Size, scale: Size) -> Size:
    """Size rule of MMCV's ``imrescale``: as large as both limits allow, rounded.

    Args:
        shape: (H, W) before resizing.
        scale: Limits of the long and of the short side, in any order.

    Returns:
        New (H, W). As in MMCV, a side may be 0.
    """
    factor = min(max(scale) / max(shape), min(scale) / min(shape))
    return size_by_factor(shape, (factor, factor))


def size_by_factor(shape: Size, factors: tuple[float, float]) -> Size:
    """Size rule of MMCV for factors: rounded.

    Args:
        shape: (H, W) before resizing.
        factors: Factors of the width and of the height, in this order.

    Returns:
        New (H, W).
    """
    height, width = shape
    return int(height * factors[1] + 0.5), int(width * factors[0] + 0.5)


def fitting_size(shape: Size, limits: Size) -> Size:
    """Shrink a size to fit limits, with the same ratio: truncated, but at least 1.

    Args:
        shape: (H, W) before resizing.
        limits: Largest (H, W).

    Returns:
        New (H, W); ``shape`` if it fits.
    """
    if shape[0] <= limits[0] and shape[1] <= limits[1]:
        return shape
    factor = min(limits[0] / shape[0], limits[1] / shape[1])
    height, width = (
        min(limit, max(1, int(side * factor)))
        for side, limit in zip(shape, limits, strict=True)
    )
    return height, width
