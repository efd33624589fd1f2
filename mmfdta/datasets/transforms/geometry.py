# Copyright (c) mmfdta authors.
"""Geometry of a clip, decided on boxes first and applied to pixels later.

The random transforms only record steps (flip, resize, crop, shift) and move
the boxes; images and depth maps are decoded when all steps are known, so a
JPEG is decoded no larger than needed, a crop is cut out before it is resized,
and nothing but the result is kept in memory.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from ..structures import legal_counts


@dataclass(frozen=True)
class Flip:
    """Horizontal flip."""


@dataclass(frozen=True)
class Resize:
    """Resize to ``height`` x ``width`` pixels."""

    height: int
    width: int


@dataclass(frozen=True)
class Crop:
    """Cut out ``height`` x ``width`` pixels at (``left``, ``top``)."""

    top: int
    left: int
    height: int
    width: int


@dataclass
class ClipGeometry:
    """Steps that lead from the decoded frames to the augmented clip.

    Attributes:
        source_shape (tuple[int, int]): (H, W) of every file of the clip.
        steps (list[Flip | Resize | Crop]): In the order of application, the
            same for all frames.
        shift (Crop | None): For static images: the window of a frame that,
            resized to full size, makes the next frame.
        reverse (bool): The shifted frames run backwards.
    """

    source_shape: tuple[int, int]
    steps: list[Flip | Resize | Crop] = field(default_factory=list)
    shift: Crop | None = None
    reverse: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """tuple[int, int]: (H, W) after all steps."""
        for step in reversed(self.steps):
            if not isinstance(step, Flip):
                return step.height, step.width
        return self.source_shape

    @property
    def scale_factor(self) -> tuple[float, float]:
        """tuple[float, float]: (w, h) product of all resizes."""
        shape, scale = self.source_shape, (1.0, 1.0)
        for step in self.steps:
            if isinstance(step, Resize):
                scale = (
                    scale[0] * step.width / shape[1],
                    scale[1] * step.height / shape[0],
                )
            if not isinstance(step, Flip):
                shape = step.height, step.width
        return scale


def training_size(
    shape: tuple[int, int], short: int, max_long: int | None = None
) -> tuple[int, int]:
    """Size rule of training: the long side is rounded.

    Args:
        shape (tuple[int, int]): (H, W) now.
        short (int): Wanted short side.
        max_long (int | None): The long side's limit; if it would be passed,
            the short side is floored to fit.

    Returns:
        tuple[int, int]: New (H, W).
    """
    height, width = shape
    low, high = float(min(shape)), float(max(shape))
    if max_long is not None and high / low * short > max_long:
        short = math.floor(max_long * low / high)
    if width < height:
        return round(short * height / width), short
    return short, round(short * width / height)


def inference_size(
    shape: tuple[int, int], short: int, max_long: int | None = None
) -> tuple[int, int]:
    """Size rule of inference: both sides are truncated.

    Args:
        shape (tuple[int, int]): (H, W) now.
        short (int): Wanted short side.
        max_long (int | None): The long side's limit.

    Returns:
        tuple[int, int]: New (H, W).
    """
    height, width = shape
    low, high = min(shape), max(shape)
    new_low, new_high = short, int(short * high / low)
    if max_long is not None and new_high > max_long:
        new_low, new_high = int(max_long * new_low / new_high), max_long
    return (new_low, new_high) if height <= width else (new_high, new_low)


BOX_KEYS = ('gt_bboxes', 'gt_labels', 'gt_ids', 'gt_frames')


def has_boxes(results: dict) -> bool:
    """Tell whether the clip is annotated."""
    return 'gt_bboxes' in results


def clip_boxes(
    boxes: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Clip boxes to an image and find those that keep an area.

    Args:
        boxes (np.ndarray): float32 (M, 4) xyxy.
        height (int): Image height.
        width (int): Image width.

    Returns:
        tuple[np.ndarray, np.ndarray]: Clipped boxes and bool (M,).
    """
    limit = np.array([width, height, width, height], dtype=boxes.dtype)
    clipped = np.clip(boxes, 0, limit)
    return clipped, (clipped[:, 2:] > clipped[:, :2]).all(axis=1)


def all_frames_legal(frames: np.ndarray, ids: np.ndarray, num_frames: int) -> bool:
    """Tell whether every frame has 1..300 objects with unique identities."""
    return bool(legal_counts(frames, ids, num_frames).all())
