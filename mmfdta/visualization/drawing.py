# Copyright (c) mmfdta authors.
"""Draws tracks on frames: boxes, identities and trails, and text with a background."""

import functools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmfdta.structures.tracks import Tracks

from .colors import Color, identity_color, text_color

_SMALLEST_FONT = 8  # pixels; what is smaller cannot be read
_LARGEST = 1 << 15  # OpenCV's drawing overflows far outside of the image
_SHIFT = 3  # fractional bits of OpenCV's coordinates


@dataclass(frozen=True)
class TrackStyle:
    """What is drawn.

    Attributes:
        show_scores: Write the score after the identity.
        show_classes: Write the class before the identity.
        trail_length: Frames of the trail behind each object; 0 for none.
        line_width: Width of box lines in pixels; None: from the
            size of the image.
        font_size: Height of the text in pixels; None: from the
            size of the image, smaller on small boxes.
    """

    show_scores: bool = False
    show_classes: bool = False
    trail_length: int = 30
    line_width: float | None = None
    font_size: float | None = None

    @property
    def earlier_frames(self) -> int:
        """Frames before one that its trails are made of."""
        return max(0, self.trail_length - 1)

    def line_pixels(self, shape: tuple[int, ...]) -> int:
        """Return the width of box lines on an image of this shape."""
        width = min(shape[:2]) / 360 if self.line_width is None else self.line_width
        return max(1, round(width))

    def font_pixels(self, shape: tuple[int, ...], box_height: float) -> int:
        """Return the height of the text beside a box."""
        if self.font_size is not None:
            return max(1, round(self.font_size))
        largest = max(9.0, min(shape[:2]) / 48)
        smallest = max(_SMALLEST_FONT, 0.65 * largest)
        return round(float(np.clip(box_height / 7, smallest, largest)))


class TrackDrawer:
    """Draws the frames of one video, one after the other.

    What it remembers is bounded: the last ``trail_length`` places of the
    objects seen within as many frames.

    Args:
        style: What is drawn.
        classes: Names of the classes; numbers if None.
        channel_order: ``'rgb'`` or ``'bgr'``, that of the images.
    """

    def __init__(
        self,
        style: TrackStyle | None = None,
        classes: Sequence[str] | None = None,
        channel_order: str = 'rgb',
    ) -> None:
        if channel_order not in ('rgb', 'bgr'):
            raise ValueError(
                f"channel_order: found {channel_order!r}, expected 'rgb' or 'bgr'"
            )
        self.style = style or TrackStyle()
        self.classes = classes
        self.channel_order = channel_order
        self._trails: dict[int, deque[tuple[int, int, int]]] = {}
        self._frame = 0

    def reset(self) -> None:
        """Forget the trails: another video starts."""
        self._trails.clear()
        self._frame = 0

    def draw(self, image: np.ndarray, tracks: Tracks) -> np.ndarray:
        """Draw the next frame.

        Args:
            image: uint8 (H, W, 3); a copy is drawn on.
            tracks: Its objects.
        """
        image = np.array(image, order='C')
        boxes = tracks.xyxy
        # Nearer objects usually end lower; they go on top.
        order = np.argsort(boxes[:, 3], kind='stable')
        self.remember(tracks)
        line = self.style.line_pixels(image.shape)
        if self.style.trail_length > 1:
            for identity in self._trails:
                self._draw_trail(image, identity, line)
        for i in order:
            left, top, right, bottom = (int(v) for v in _fixed_point(boxes[i]))
            color = self.color(int(tracks.identity[i]))
            corners = (left, top), (right, bottom)
            cv2.rectangle(image, *corners, color, line, cv2.LINE_AA, _SHIFT)
        for i in order:
            self._draw_label(image, boxes[i], tracks, i, line)
        return image

    def color(self, identity: int) -> Color:
        """Return an identity's colour in the order of the image."""
        color = identity_color(identity)
        return color if self.channel_order == 'rgb' else color[::-1]

    def remember(self, tracks: Tracks) -> None:
        """Take a frame into the trails; :meth:`draw` does so itself.

        Args:
            tracks: Objects of the next frame.
        """
        length = self.style.trail_length
        if length < 1:
            return
        self._frame += 1
        boxes = tracks.xyxy
        feet = np.stack([boxes[:, [0, 2]].mean(axis=1), boxes[:, 3]], axis=1)
        feet = _fixed_point(feet)
        for identity, (x, y) in zip(tracks.identity, feet, strict=True):
            trail = self._trails.setdefault(int(identity), deque(maxlen=length))
            trail.append((self._frame, int(x), int(y)))
        oldest = self._frame - length
        for identity in list(self._trails):
            trail = self._trails[identity]
            while trail and trail[0][0] <= oldest:
                trail.popleft()
            if not trail:
                del self._trails[identity]

    def _draw_trail(self, image: np.ndarray, identity: int, line: int) -> None:
        """Draw a trail that gets thinner with age."""
        trail = np.array(self._trails[identity], dtype=np.int32)
        if len(trail) < 2:
            return
        age = (self._frame - trail[1:, 0]) / self.style.trail_length
        widths = np.maximum(1, np.rint((1 - age) * 1.5 * line)).astype(int)
        color = self.color(identity)
        for width in np.unique(widths):
            run = np.flatnonzero(widths == width)
            points = np.ascontiguousarray(trail[run[0] : run[-1] + 2, 1:])
            cv2.polylines(
                image, [points], False, color, int(width), cv2.LINE_AA, _SHIFT
            )

    def _draw_label(
        self, image: np.ndarray, box: np.ndarray, tracks: Tracks, i: int, line: int
    ) -> None:
        left, top, right, bottom = np.clip(box, -_LARGEST, _LARGEST)
        text = self._label(tracks, i)
        size = self.style.font_pixels(image.shape, bottom - top)
        width, height = text_size(text, size)
        x = round(float(left - line / 2))
        y = round(float(top - line / 2)) - height
        if y < 0 < bottom:  # the label does not fit above: inside of the box
            y = max(0, round(float(top + line / 2)))
        if left < image.shape[1]:
            x = min(x, image.shape[1] - width)
        if right > 0:
            x = max(x, 0)
        color = self.color(int(tracks.identity[i]))
        keep = not self.style.show_scores  # scores differ in every frame
        draw_text(image, text, (x, y), size, color, keep)

    def _label(self, tracks: Tracks, i: int) -> str:
        parts = [str(tracks.identity[i])]
        if self.style.show_classes and tracks.label[i] >= 0:
            parts.insert(0, class_name(self.classes, int(tracks.label[i])))
        if self.style.show_scores:
            parts.append(f'{tracks.score[i]:.2f}')
        return ' '.join(parts)


def class_name(classes: Sequence[str] | None, label: int) -> str:
    """Name the class of a label, or give its number where no name is known."""
    if classes is not None and 0 <= label < len(classes):
        return str(classes[label])
    return f'class {label}'


def draw_caption(image: np.ndarray, text: str) -> None:
    """Write a line into an image's upper left corner, in place, small enough to fit."""
    size = max(_SMALLEST_FONT, round(min(image.shape[:2]) / 36))
    width = text_size(text, size)[0] + size
    size = max(_SMALLEST_FONT, min(size, size * image.shape[1] // width))
    gap = size // 2
    draw_text(image, text, (gap, gap), size, (20, 20, 20), keep=False)


def _fixed_point(values: np.ndarray) -> np.ndarray:
    """Turn pixels into OpenCV's integers with fractional bits."""
    limited = np.clip(np.nan_to_num(values), -_LARGEST, _LARGEST)
    return np.rint(limited * (1 << _SHIFT)).astype(np.int32)


@functools.lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans-Bold.ttf')
    return ImageFont.truetype(str(path), size)


def _margin(size: int) -> int:
    return max(2, size // 5)


def _label(text: str, size: int, background: Color) -> np.ndarray:
    """Render a line of text with margins on its background; uint8 (h, w, 3)."""
    image = Image.new('RGB', text_size(text, size), background)
    position = (_margin(size), 0)
    ImageDraw.Draw(image).text(position, text, text_color(background), _font(size))
    return np.asarray(image)


_kept_label = functools.lru_cache(maxsize=512)(_label)


def text_size(text: str, size: int) -> tuple[int, int]:
    """Tell the width and height in pixels of a label, with its margins.

    Args:
        text: One line.
        size: Height of the font in pixels.
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
        image: uint8 (H, W, 3).
        text: One line.
        corner: Left and top in pixels.
        size: Height of the font in pixels.
        background: Colour in the order of the image.
        keep: The text will be drawn again: keep it in memory.
    """
    # White and black text are the same in either order of channels.
    label = (_kept_label if keep else _label)(text, size, background)
    left, top = corner
    x0, y0 = max(left, 0), max(top, 0)
    x1 = min(left + label.shape[1], image.shape[1])
    y1 = min(top + label.shape[0], image.shape[0])
    if x0 < x1 and y0 < y1:
        image[y0:y1, x0:x1] = label[y0 - top : y1 - top, x0 - left : x1 - left]
