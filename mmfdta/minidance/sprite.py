# Copyright (c) mmfdta authors.
"""Shapes with soft edges: drawn large, shrunk, and laid on a picture."""

from dataclasses import dataclass

import cv2
import numpy as np

from .appearance import Color

OVERSAMPLING = 3
_BITS = 4


@dataclass(frozen=True)
class Sprite:
    """A drawn shape at its place in the image, which it may leave.

    The silhouette are the pixels that it covers by at least one half.
    """

    left: int
    top: int
    color: np.ndarray
    """Colours times coverage, uint8 (h, w, 3), blue, green, red."""
    coverage: np.ndarray
    """uint8 (h, w), 255 = covered."""

    @property
    def silhouette(self) -> np.ndarray:
        """np.ndarray: bool (h, w)."""
        return self.coverage >= 128

    def window(self, width: int, height: int) -> tuple[tuple, tuple]:
        """Find the part inside an image.

        Args:
            width (int): Width of the image.
            height (int): Height of the image.

        Returns:
            tuple: Slices (rows, columns) of the image, and of the sprite.
        """
        h, w = self.coverage.shape
        x0, x1 = np.clip([self.left, self.left + w], 0, width).tolist()
        y0, y1 = np.clip([self.top, self.top + h], 0, height).tolist()
        inside = slice(y0, y1), slice(x0, x1)
        own = (
            slice(y0 - self.top, y1 - self.top),
            slice(x0 - self.left, x1 - self.left),
        )
        return inside, own

    def paint_on(self, image: np.ndarray) -> None:
        """Lay the sprite on an image (H, W, 3) uint8, in place."""
        inside, own = self.window(image.shape[1], image.shape[0])
        below = image[inside].astype(np.uint16)
        rest = 255 - self.coverage[own].astype(np.uint16)[..., None]
        image[inside] = self.color[own] + ((below * rest + 127) // 255).astype(np.uint8)


class Pencil:
    """Draws on an enlarged canvas at image coordinates.

    Args:
        left (int): Column of the canvas' corner in the image.
        top (int): Row of the canvas' corner in the image.
        width (int): Width in image pixels.
        height (int): Height in image pixels.
    """

    def __init__(self, left: int, top: int, width: int, height: int) -> None:
        self.corner = np.array([left, top])
        shape = height * OVERSAMPLING, width * OVERSAMPLING
        self._color = np.zeros((*shape, 3), np.uint8)
        self._cover = np.zeros(shape, np.uint8)

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        """Image coordinates to the fixed-point ones of the canvas."""
        points = (np.asarray(points) - self.corner) * OVERSAMPLING - 0.5
        return np.rint(points * (1 << _BITS)).astype(np.int32)

    def polygon(self, points: np.ndarray, color: Color) -> None:
        """Fill a polygon (n, 2)."""
        corners = [self._fixed(points)]
        for canvas, paint in ((self._color, color), (self._cover, (255,))):
            cv2.fillPoly(canvas, corners, paint, cv2.LINE_8, _BITS)

    def ellipse(
        self, centre: np.ndarray, radii: tuple[float, float], color: Color
    ) -> None:
        """Fill an upright ellipse."""
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        ring = np.stack([np.cos(turn) * radii[0], np.sin(turn) * radii[1]], 1)
        self.polygon(np.asarray(centre) + ring, color)

    def stroke(
        self,
        start: np.ndarray,
        end: np.ndarray,
        widths: tuple[float, float],
        color: Color,
    ) -> None:
        """Draw a tapered line with round ends.

        Args:
            start (np.ndarray): First point.
            end (np.ndarray): Last point.
            widths (tuple[float, float]): Widths at the ends, pixels.
            color (tuple): Its colour.
        """
        start, end = np.asarray(start), np.asarray(end)
        along = end - start
        across = np.array([-along[1], along[0]]) / max(np.hypot(*along), 1e-6) / 2
        a, b = across * widths[0], across * widths[1]
        self.polygon(np.stack([start + a, end + b, end - b, start - a]), color)
        self.ellipse(start, (widths[0] / 2,) * 2, color)
        self.ellipse(end, (widths[1] / 2,) * 2, color)

    def lift(self) -> Sprite:
        """Shrink the canvas to a sprite."""
        size = (
            self._cover.shape[1] // OVERSAMPLING,
            self._cover.shape[0] // OVERSAMPLING,
        )
        color = cv2.resize(self._color, size, interpolation=cv2.INTER_AREA)
        cover = cv2.resize(self._cover, size, interpolation=cv2.INTER_AREA)
        return Sprite(int(self.corner[0]), int(self.corner[1]), color, cover)
