# Copyright (c) mmfdta authors.
"""Boxes as networks predict them, in pixels."""

import numpy as np


def corners_and_areas(
    boxes: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Turn predicted boxes into pixels of an image.

    Args:
        boxes: float32 (n, 4), cxcywh in 0..1 of the image.
        size: Height and width of the image, in pixels.

    Returns:
        float32 (n, 4) xyxy, not clipped to the image, and float32 (n,), the areas in
        square pixels.
    """
    height, width = size
    scale = np.array([width, height, width, height], dtype=np.float32)
    centre, half = boxes[:, :2], 0.5 * boxes[:, 2:]
    with np.errstate(invalid='ignore'):  # trackers refuse what is not finite
        corners = np.concatenate([centre - half, centre + half], axis=1) * scale
        areas = boxes[:, 2] * scale[0] * boxes[:, 3] * scale[1]
    return corners, areas
