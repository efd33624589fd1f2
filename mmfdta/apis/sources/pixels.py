# Copyright (c) mmfdta authors.
"""Pixels as the frames of a source have them: upright, three channels, eight bits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame

# Values beyond which so few in a thousand lie are single pixels, not the picture.
_OUTLIERS = 0.1
# What fills less of its range than this would be grey in grey.
_LEAST_SHARE = 0.25
# Floats leave 0 to 1 by so much when they are resized.
_SLACK = 0.05
# Pixel formats whose values need not fill their range.
_DEEP_GREY = ('gray16', 'ya16', 'grayf')
_DEEP_COLOR = (
    *('rgb48', 'bgr48', 'rgba64', 'bgra64', 'gbrp16', 'gbrap16'),
    *('gbrpf', 'gbrapf', 'rgbf', 'rgbaf'),
)


def frame_pixels(frame: VideoFrame) -> np.ndarray:
    """Give the pixels of a decoded frame, upright by its display matrix.

    Returns:
        uint8 (H, W, 3) BGR; of formats whose values need not fill their range, uint16
        or float32 (H, W) or (H, W, 3) BGR.
    """
    name = frame.format.name
    is_float = 'f16' in name or 'f32' in name
    if name.startswith(_DEEP_GREY):
        pixels: np.ndarray = frame.to_ndarray(
            format='grayf32le' if is_float else 'gray16le'
        )
    elif name.startswith(_DEEP_COLOR):
        values = frame.to_ndarray(format='gbrpf32le' if is_float else 'rgb48le')
        pixels = values[..., ::-1]
    else:
        pixels = frame.to_ndarray(format='bgr24')
    matrix: Any = frame.side_data.get('DISPLAYMATRIX')
    if matrix is None:
        return pixels
    return turn(pixels, np.frombuffer(matrix, np.int32)[:5].tolist())


def turn(image: np.ndarray, matrix: Sequence[int]) -> np.ndarray:
    """Turn and flip an image as a display matrix says.

    Args:
        image: (H, W) or (H, W, C).
        matrix: The first five values of FFmpeg's: x' = a x + c y and y' = b x + d y
            for (a, b, _, c, d). Angles between quarters of a circle are taken for the
            nearest quarter.

    Returns:
        The image, or its turned copy, contiguous.
    """
    a, b, _, c, d = matrix
    turned = image
    if abs(b) + abs(c) > abs(a) + abs(d):
        turned = turned.swapaxes(0, 1)
        a, d = c, b
    if a < 0:
        turned = turned[:, ::-1]
    if d < 0:
        turned = turned[::-1]
    if turned is image:
        return image
    out = np.empty(turned.shape, turned.dtype)
    np.copyto(out, turned)
    return out


@dataclass(frozen=True)
class ValueRange:
    """The values of deep images that become black and white.

    Attributes:
        low: Black.
        high: White.
    """

    low: float
    high: float

    def to_bytes(self, image: np.ndarray) -> np.ndarray:
        """Bring values into 0 to 255; what is no number becomes black."""
        scale = 255 / (self.high - self.low)
        values = np.nan_to_num(
            (image.astype(np.float32) - np.float32(self.low)) * np.float32(scale),
            nan=0.0,
            posinf=255.0,
            neginf=0.0,
        )
        return np.rint(values.clip(0, 255)).astype(np.uint8)

    def __str__(self) -> str:
        return f'{self.low:g} to {self.high:g}'


def find_range(images: Iterable[np.ndarray]) -> ValueRange:
    """Find the range of values of a sequence from some of its images.

    Of each image the values between its permille from below and from above count.
    Whole numbers are taken in the range of the bits that they need (0 to 4095, say),
    floats in 0 to 1 or 0 to 255 where they fit; but if they fill less than a quarter
    of that, from the lowest to the highest.

    Args:
        images: Of whole numbers or floats, any shape.
    """
    lows, highs, whole = [], [], True
    for image in images:
        values = image[np.isfinite(image)]
        if values.size:
            low, high = np.percentile(values, (_OUTLIERS, 100 - _OUTLIERS))
            lows.append(float(low))
            highs.append(float(high))
        whole = whole and image.dtype.kind in 'iu'
    if not lows:
        return ValueRange(0, 1)
    low, high = min(lows), max(highs)
    if whole:
        white = 2.0 ** max(8, int(np.ceil(np.log2(np.floor(max(high, 1)) + 1)))) - 1
    else:
        fits = (w for w in (1.0, 255.0) if -_SLACK * w <= low <= high <= w + _SLACK * w)
        white = next(fits, high)
        low = max(low, 0.0) if white != high else low
    if low < 0 or high - low < _LEAST_SHARE * white:
        return ValueRange(low, high if high > low else low + 1)
    return ValueRange(0, white)


def to_bgr(image: np.ndarray) -> np.ndarray:
    """Give an image of any number of channels the three of BGR.

    Args:
        image: uint8 (H, W) grey, or (H, W, C): grey, grey and alpha, BGR or BGRA.

    Returns:
        uint8 (H, W, 3); alpha is dropped.
    """
    if image.ndim == 3 and image.shape[2] >= 3:
        return np.ascontiguousarray(image[..., :3])
    grey = image if image.ndim == 2 else image[..., 0]
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(grey), cv2.COLOR_GRAY2BGR))
