# Copyright (c) mmfdta authors.
"""Antialiased text on images, with a background."""

import functools
import math
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .colors import Color, text_color


@functools.lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans-Bold.ttf')
    return ImageFont.truetype(str(path), size)


def _margin(size: int) -> int:
    return max(2, size // 5)


@functools.lru_cache(maxsize=512)
def _kept_label(text: str, size: int, background: Color) -> np.ndarray:
    return _label(text, size, background)


def _label(text: str, size: int, background: Color) -> np.ndarray:
    """Render a line of text with margins on its background; uint8 (h, w, 3)."""
    image = Image.new('RGB', text_size(text, size), background)
    position = (_margin(size), 0)
    ImageDraw.Draw(image).text(position, text, text_color(background), _font(size))
    return np.asarray(image)


def text_size(text: str, size: int) -> tuple[int, int]:
    """Tell how large a label will be, with its margins.

    Args:
        text (str): One line.
        size (int): Height of the font in pixels.

    Returns:
        tuple[int, int]: Width and height in pixels.
    """
    font = _font(size)
    width = math.ceil(font.getlength(text)) + 2 * _margin(size)
    return width, sum(font.getmetrics())


def draw_text(
    image: np.ndarray,
    text: str,
    corner: tuple[int, int],
    size: int,
    background: Color,
    keep: bool = True,
) -> None:
    """Draw a line of text on a coloured box, in place; clipped to the image.

    Args:
        image (np.ndarray): uint8 (H, W, 3).
        text (str): One line.
        corner (tuple[int, int]): Left and top in pixels.
        size (int): Height of the font in pixels.
        background (tuple[int, int, int]): Colour in the order of the image.
        keep (bool): The text will be drawn again: keep it in memory.
    """
    # White and black text are the same in either order of channels.
    label = (_kept_label if keep else _label)(text, size, background)
    left, top = corner
    x0, y0 = max(left, 0), max(top, 0)
    x1 = min(left + label.shape[1], image.shape[1])
    y1 = min(top + label.shape[0], image.shape[0])
    if x0 < x1 and y0 < y1:
        image[y0:y1, x0:x1] = label[y0 - top : y1 - top, x0 - left : x1 - left]
