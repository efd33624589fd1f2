# Copyright (c) mmfdta authors.
"""Draws lines and zones in which objects are counted, and the numbers."""

from collections.abc import Sequence

import cv2
import numpy as np

from .drawing import TrackStyle, draw_text, text_size

# The same in either order of channels.
_LIGHT, _DARK = (255, 255, 255), (20, 20, 20)
_FILL = 0.2


def draw_line(image: np.ndarray, ends: np.ndarray, style: TrackStyle) -> None:
    """Draw a line with an arrow to its left side, in place.

    Args:
        image: uint8 (H, W, 3).
        ends: (2, 2), start and end in pixels.
        style: Gives the width of lines.
    """
    width = style.line_pixels(image.shape)
    way = ends[1] - ends[0]
    center = ends.mean(axis=0)
    length = min(np.hypot(*way) / 3, min(image.shape[:2]) / 16)
    # To the left of who looks along it, where y points down.
    tip = center + length * np.array([way[1], -way[0]]) / np.hypot(*way)
    start, end, middle, tip = (
        tuple(np.rint(point).astype(int).tolist()) for point in (*ends, center, tip)
    )
    for color, extra in ((_DARK, 2), (_LIGHT, 0)):
        cv2.line(image, start, end, color, width + extra, cv2.LINE_AA)
        cv2.arrowedLine(
            image, middle, tip, color, width + extra, cv2.LINE_AA, tipLength=0.4
        )


def draw_zone(
    image: np.ndarray, rings: Sequence[np.ndarray], style: TrackStyle
) -> None:
    """Draw a zone: a light surface with a border, in place.

    Args:
        image: uint8 (H, W, 3).
        rings: (corners, 2) each, in pixels.
        style: Gives the width of lines.
    """
    width = style.line_pixels(image.shape)
    corners = [np.rint(ring).astype(np.int32) for ring in rings]
    left, top, w, h = cv2.boundingRect(np.concatenate(corners))
    part = image[max(top, 0) : top + h, max(left, 0) : left + w]
    if part.size:
        light = part.copy()
        cv2.fillPoly(light, corners, _LIGHT, offset=(-max(left, 0), -max(top, 0)))
        part[:] = cv2.addWeighted(light, _FILL, part, 1 - _FILL, 0)
    for color, extra in ((_DARK, 2), (_LIGHT, 0)):
        cv2.polylines(image, corners, True, color, width + extra, cv2.LINE_AA)


def draw_name(
    image: np.ndarray, name: str, point: Sequence[float], style: TrackStyle
) -> None:
    """Write the name of a line or zone next to a point, in place.

    Args:
        image: uint8 (H, W, 3).
        name: What is written.
        point: In pixels.
        style: Gives the size of the text.
    """
    size = style.font_pixels(image.shape, 0)
    limits = np.array(image.shape[1::-1]) - text_size(name, size)
    left, top = np.clip(np.rint(point), 0, np.maximum(limits, 0)).astype(int).tolist()
    draw_text(image, name, (left, top), size, _DARK, keep=False)


def draw_table(image: np.ndarray, lines: Sequence[str], style: TrackStyle) -> None:
    """Write lines of text into an image's lower left corner, in place.

    Args:
        image: uint8 (H, W, 3).
        lines: From the top down.
        style: Gives the size of the text.
    """
    size = style.font_pixels(image.shape, np.inf)
    height = text_size('', size)[1]
    bottom = image.shape[0] - size // 2
    for i, text in enumerate(reversed(lines), start=1):
        draw_text(image, text, (size // 2, bottom - i * height), size, _DARK, False)
