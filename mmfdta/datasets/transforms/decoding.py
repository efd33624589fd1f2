# Copyright (c) mmfdta authors.
"""Decodes single images and applies recorded geometry to their pixels.

Two ways lead to the same picture. The exact way is the released code's: PIL
decodes the whole image and PIL resizes it, step by step. The fast way decodes
a JPEG at half, a quarter or an eighth of its size where the next resize allows
it, and resizes with PyTorch's uint8 kernel, which has the same antialiased
bilinear filter.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import cv2
import numpy as np
import torch
from PIL import Image

from .geometry import ClipGeometry, Crop, Flip, Resize, Step

_REDUCTIONS = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
    (1, cv2.IMREAD_COLOR),
)
_JPEG_SUFFIXES = ('.jpg', '.jpeg')
Picture = TypeVar('Picture', Image.Image, np.ndarray)


def read_image_size(path: str) -> tuple[int, int]:
    """Read (H, W) from an image's header; EXIF orientation is ignored.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If the file is not an image.
    """
    with open_image(path) as image:
        return image.height, image.width


def decode_exact(path: str) -> Image.Image:
    """Decode an image with PIL into RGB; EXIF orientation is ignored.

    Grey, palette, CMYK and transparent images become RGB as PIL converts
    them, 16-bit grey is scaled by 1/257; what is RGB already is untouched.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If the image is broken or cut off, or its pixels are floats, whose
            range nothing says.
    """
    with open_image(path) as image:
        if image.mode == 'F':
            raise OSError(
                f'{path}: found pixels that are floats, expected 8 or 16 bits; '
                'convert the image'
            )
        load_pixels(image, path)
        if image.mode == 'RGB':
            return image
        if image.mode.startswith('I'):
            grey = np.asarray(image, dtype=np.float64) / 257
            image = Image.fromarray(np.rint(grey.clip(0, 255)).astype(np.uint8))
        return image.convert('RGB')


def open_image(path: str) -> Image.Image:
    """Open an image and read its header; nothing is decoded yet.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If the file is not an image.
    """
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f'{path}: no such image; check the data set with mmfdta check-data'
        ) from None
    except OSError:
        raise OSError(
            f'{path}: not an image that PIL can read; was the download or the '
            'unpacking interrupted? Replace the file'
        ) from None


def load_pixels(image: Image.Image, path: str) -> None:
    """Decode an opened image.

    Args:
        image: From :func:`open_image`.
        path: What the error calls it.

    Raises:
        OSError: If it is broken or cut off.
    """
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise OSError(
            f'{path}: cannot decode the image ({error}); was the download or the '
            'unpacking interrupted? Replace the file'
        ) from None


def decode_fast(path: str, shrink: float) -> tuple[np.ndarray, int]:
    """Decode an image, smaller if it is a JPEG that will be shrunk anyway.

    Args:
        path: The image.
        shrink: By how much the first resize shrinks it (2 halves it).

    Returns:
        uint8 (h, w, 3) **BGR**, as OpenCV decodes; and the number by which its sides
        are divided, rounded up: 1, 2, 4 or 8.

    Raises:
        OSError: If the image is broken or cut off.
    """
    if not path.lower().endswith(_JPEG_SUFFIXES):
        return _decode_bgr(path), 1
    reductions = (reduction for reduction in _REDUCTIONS if shrink >= reduction[0])
    factor, flags = next(reductions, _REDUCTIONS[-1])
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except FileNotFoundError:
        data = b''
    if not data:  # OpenCV asserts that there is something; PIL says what is wrong
        return _decode_bgr(path), 1
    # OpenCV fills a file that was cut off with grey; PIL, which decides here
    # whether what lacks the end marker can be read, raises.
    whole = data[-2:] == b'\xff\xd9'
    image = cv2.imdecode(
        np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION
    )
    if image is None or not whole:
        return _decode_bgr(path), 1
    return image, factor


def _decode_bgr(path: str) -> np.ndarray:
    return cv2.cvtColor(np.asarray(decode_exact(path)), cv2.COLOR_RGB2BGR)


def first_shrink(geometry: ClipGeometry) -> float:
    """Tell by how much the first resize shrinks the file's image.

    Returns:
        The smaller ratio of the two sides; 1 if the pixels are cropped
        or shifted first.
    """
    moved = (step for step in geometry.steps if not isinstance(step, Flip))
    first = next(moved, None)
    if geometry.shift is not None or not isinstance(first, Resize):
        return 1.0
    height, width = geometry.source_shape
    return min(height / first.height, width / first.width)


def apply_exact(image: Image.Image, steps: Sequence[Step]) -> Image.Image:
    """Apply steps one after the other with PIL's antialiased bilinear filter."""
    for step in steps:
        if isinstance(step, Flip):
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        elif isinstance(step, Crop):
            image = image.crop(
                (step.left, step.top, step.left + step.width, step.top + step.height)
            )
        elif image.size != (step.width, step.height):
            size = (step.width, step.height)
            image = image.resize(size, Image.Resampling.BILINEAR)
    return image


def apply_fast(
    image: np.ndarray, steps: Sequence[Step], out: np.ndarray | None = None
) -> np.ndarray:
    """Apply steps to an array.

    Args:
        image: uint8 (h, w, C) of the whole frame; may be a
            reduced decoding of it if the first step that is not a flip is a
            resize.
        steps: In the order of application.
        out: uint8 (H, W, C), where the result goes; memory that is used again is
            much faster than fresh memory.

    Returns:
        ``out``, or without it a new array or ``image``.
    """
    for number, step in enumerate(steps, start=1):
        if isinstance(step, Flip):
            image = cv2.flip(image, 1).reshape(image.shape)
        elif isinstance(step, Crop):
            image = image[step.rows_and_columns]
        elif image.shape[:2] != (step.height, step.width):
            target = out if number == len(steps) else None
            image = _resize_fast(image, step.height, step.width, target)
    if out is None or image is out:
        return image
    out[:] = image
    return out


def shift_image(
    image: Picture,
    geometry: ClipGeometry,
    num_frames: int,
    apply: Callable[[Picture, Sequence[Step]], Picture],
) -> list[Picture]:
    """Make a clip from a static image, each frame from the one before it.

    Args:
        image: The first frame.
        geometry: With a ``shift``, the part of a frame that makes the next one.
        num_frames: T.
        apply: `apply_exact` or `apply_fast`.

    Returns:
        T frames of one size, in the order of the clip.
    """
    assert geometry.shift is not None
    steps = (geometry.shift, Resize(*geometry.source_shape))
    frames = [image]
    for _ in range(1, num_frames):
        frames.append(apply(frames[-1], steps))
    return frames[::-1] if geometry.reverse else frames


def _resize_fast(
    image: np.ndarray, height: int, width: int, out: np.ndarray | None
) -> np.ndarray:
    """Resize uint8 (h, w, C) with PyTorch's antialiased bilinear uint8 kernel."""
    if out is None:
        out = np.empty((height, width, image.shape[2]), dtype=np.uint8)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    target = torch.from_numpy(out).permute(2, 0, 1)[None]
    # What F.interpolate(..., mode='bilinear', antialias=True) calls; it has no out.
    torch.ops.aten._upsample_bilinear2d_aa.out(
        pixels, [height, width], False, None, None, out=target
    )
    return out
