# Copyright (c) mmfdta authors.
"""Draws tracks on frames: boxes, identities and trails, and text with a background."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmfdta.structures.tracks import Tracks

from .colors import Color, identity_color, text_color
from .label_places import LabelPlacer

if TYPE_CHECKING:
    import supervision

_SMALLEST_FONT = 8  # pixels; what is smaller cannot be read
_LARGEST = 1 << 15  # OpenCV's drawing overflows far outside of the image


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

    Raises:
        ValueError: If a number is out of range.
    """

    show_scores: bool = False
    show_classes: bool = False
    trail_length: int = 30
    line_width: float | None = None
    font_size: float | None = None

    def __post_init__(self) -> None:
        if self.trail_length < 0:
            raise ValueError(
                f'trail_length: found {self.trail_length}, expected 0 (none) or more '
                'frames'
            )
        for name, largest in (('line_width', 200), ('font_size', 500)):
            value = getattr(self, name)
            if value is not None and not 0 < value <= largest:
                raise ValueError(
                    f'{name}: found {value}, expected more than 0 and at most '
                    f'{largest} pixels'
                )

    @property
    def earlier_frames(self) -> int:
        """Frames before one that its trails are made of."""
        return max(0, self.trail_length - 1)

    def line_pixels(self, shape: tuple[int, ...]) -> int:
        """Return the width of box lines on an image of this shape."""
        width = min(shape[:2]) / 360 if self.line_width is None else self.line_width
        return max(1, round(width))

    def font_pixels(self, shape: tuple[int, ...], box_height: float) -> int:
        """Return the height of the text next to a box."""
        if self.font_size is not None:
            return max(1, round(self.font_size))
        largest = max(9.0, min(shape[:2]) / 48)
        smallest = max(_SMALLEST_FONT, 0.65 * largest)
        return round(float(np.clip(box_height / 7, smallest, largest)))


class TrackDrawer:
    """Draws the frames of one video, one after the other.

    Boxes and trails are drawn by supervision's annotators. Labels are placed so that
    they hide little (see :class:`LabelPlacer`) and written in DejaVu Sans, which has
    more letters than OpenCV's fonts. Nearer objects, which usually end lower, go on
    top. What is remembered is bounded: the last ``trail_length`` frames.

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
        import supervision

        if channel_order not in ('rgb', 'bgr'):
            raise ValueError(
                f"channel_order: found {channel_order!r}, expected 'rgb' or 'bgr'"
            )
        self.style = style or TrackStyle()
        self.classes = classes
        self.channel_order = channel_order
        by_index = supervision.ColorLookup.INDEX
        self._boxes = supervision.BoxAnnotator(color_lookup=by_index)
        self._trails = supervision.TraceAnnotator(
            position=supervision.Position.BOTTOM_CENTER,
            trace_length=max(self.style.trail_length, 1),
            color_lookup=by_index,
        )
        self._placer = LabelPlacer()

    def reset(self) -> None:
        """Forget the trails: another video starts."""
        self._trails.reset()
        self._placer.reset()

    def draw(self, image: np.ndarray, tracks: Tracks) -> np.ndarray:
        """Draw the next frame.

        Args:
            image: uint8 (H, W, 3); a copy is drawn on.
            tracks: Its objects.
        """
        import supervision

        image = np.array(image, order='C')
        tracks = tracks.select(np.argsort(tracks.xyxy[:, 3], kind='stable'))
        found = _drawable(tracks)
        line = self.style.line_pixels(image.shape)
        # supervision takes red, green, blue and draws them as blue, green, red.
        colors = [self.color(identity)[::-1] for identity in tracks.identity.tolist()]
        palette = supervision.ColorPalette([supervision.Color(*c) for c in colors])
        if self.style.trail_length > 1:
            self._trails.color, self._trails.thickness = palette, line
            self._trails.annotate(image, found)
            self._forget()
        self._boxes.color, self._boxes.thickness = palette, line
        self._boxes.annotate(image, found)
        self._draw_labels(image, found.xyxy, tracks, line)
        return image

    def remember(self, tracks: Tracks) -> None:
        """Take a frame into the trails; :meth:`draw` does so itself.

        Args:
            tracks: Objects of the next frame.
        """
        self._trails.trace.put(_drawable(tracks))
        self._forget()

    def color(self, identity: int) -> Color:
        """Return an identity's colour in the order of the image."""
        color = identity_color(identity)
        return color if self.channel_order == 'rgb' else color[::-1]

    def _forget(self) -> None:
        """Drop what is older than the trails.

        supervision keeps old points as long as few frames have objects, and would join
        an object that returns to the place where it left.
        """
        trace = self._trails.trace
        recent = trace.frame_id > trace.current_frame_id - 1 - self.style.trail_length
        trace.frame_id, trace.xy = trace.frame_id[recent], trace.xy[recent]
        trace.tracker_id = trace.tracker_id[recent]

    def _draw_labels(
        self, image: np.ndarray, boxes: np.ndarray, tracks: Tracks, line: int
    ) -> None:
        height, width = image.shape[:2]
        left, top, right, bottom = boxes.T
        seen = (right > 0) & (bottom > 0) & (left < width) & (top < height)
        boxes, tracks = boxes[seen], tracks.select(seen)
        texts = [self._label(tracks, i) for i in range(len(tracks))]
        fonts = [self.style.font_pixels(image.shape, h) for h in tracks.xywh[:, 3]]
        sizes = [text_size(text, size) for text, size in zip(texts, fonts, strict=True)]
        identities = tracks.identity.tolist()
        corners = self._placer.place(
            identities, boxes, np.array(sizes).reshape(-1, 2), image.shape, line
        )
        keep = not self.style.show_scores  # scores differ in every frame
        for i, identity in enumerate(identities):
            x, y = corners[i].tolist()
            draw_text(image, texts[i], (x, y), fonts[i], self.color(identity), keep)

    def _label(self, tracks: Tracks, i: int) -> str:
        parts = [str(tracks.identity[i])]
        if self.style.show_classes and tracks.label[i] >= 0:
            parts.insert(0, class_name(self.classes, int(tracks.label[i])))
        if self.style.show_scores:
            parts.append(f'{tracks.score[i]:.2f}')
        return ' '.join(parts)


def to_detections(
    tracks: Tracks, classes: Sequence[str] | None = None
) -> 'supervision.Detections':
    """Hand tracks to supervision, in their order.

    Args:
        tracks: Objects of a frame.
        classes: Names of the classes; numbers if None.

    Returns:
        ``xyxy`` in pixels, ``tracker_id``, ``confidence``, ``class_id`` (-1 where none
        is known) and ``data['class_name']``; copies.
    """
    import supervision

    names = [class_name(classes, label) for label in tracks.label.tolist()]
    return supervision.Detections(
        xyxy=tracks.xyxy,
        confidence=tracks.score.copy(),
        class_id=tracks.label.copy(),
        tracker_id=tracks.identity.copy(),
        data={'class_name': np.array(names, dtype=str)},
    )


def _drawable(tracks: Tracks) -> 'supervision.Detections':
    """Limit boxes to what OpenCV can draw, in whole pixels."""
    found = to_detections(tracks)
    found.xyxy = np.rint(np.clip(found.xyxy, -_LARGEST, _LARGEST))
    return found


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


@functools.lru_cache(maxsize=512)
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
