# Copyright (c) mmfdta authors.
"""Predicted boxes in pixels, and how much boxes cover each other."""

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
    with np.errstate(invalid='ignore'):  # trackers refuse boxes that are not finite
        corners = np.concatenate([centre - half, centre + half], axis=1) * scale
        areas = boxes[:, 2] * scale[0] * boxes[:, 3] * scale[1]
    return corners, areas


def covered_shares(boxes: np.ndarray, by_nearer: bool = False) -> np.ndarray:
    """Compute the largest share of each box that one other box of the frame covers.

    Args:
        boxes: (n, 4) xyxy.
        by_nearer: Count only other boxes whose bottom is lower in the image: their
            objects are nearer to the camera.

    Returns:
        float64 (n,) in 0..1.
    """
    low = np.maximum(boxes[:, None, :2], boxes[:, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[:, 2:])
    shared = (high - low).clip(0).prod(-1).astype(np.float64)
    if by_nearer:
        shared *= boxes[:, 3] > boxes[:, None, 3]
    else:
        np.fill_diagonal(shared, 0)
    area = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(-1).astype(np.float64)
    return (shared.max(1, initial=0) / area.clip(1e-6)).clip(0, 1)
