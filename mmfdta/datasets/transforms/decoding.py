# Copyright (c) mmfdta authors.
"""Decodes single images and applies recorded geometry to their pixels.

Two ways lead to the same picture. The exact way is the released code's: PIL
decodes the whole image and PIL resizes it, step by step. The fast way decodes
a JPEG at half, a quarter or an eighth of its size where the next resize allows
it, and resizes with PyTorch's uint8 kernel, which has the same antialiased
bilinear filter.
"""

import cv2
import numpy as np
import torch
from PIL import Image

from .geometry import ClipGeometry, Crop, Flip, Resize

_REDUCTIONS = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)
_JPEG_SUFFIXES = ('.jpg', '.jpeg')


def read_image_size(path: str) -> tuple[int, int]:
    """Read an image's size from its header; EXIF orientation is ignored.

    Args:
        path: The image.

    Returns:
        (H, W).

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

    Args:
        path: The image.

    Returns:
        Mode RGB.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If the image is broken or cut off.
    """
    with open_image(path) as image:
        load_pixels(image, path)
        if image.mode == 'RGB':
            return image
        if image.mode.startswith('I'):
            grey = np.asarray(image, dtype=np.float64) / 257
            image = Image.fromarray(np.rint(grey.clip(0, 255)).astype(np.uint8))
        return image.convert('RGB')


def _missing(path: str) -> FileNotFoundError:
    return FileNotFoundError(
        f'{path}: no such image; check the data set with mmfdta check-data'
    )


def _read_bytes(path: str) -> bytes:
    try:
        with open(path, 'rb') as file:
            return file.read()
    except FileNotFoundError:
        raise _missing(path) from None


def open_image(path: str) -> Image.Image:
    """Open an image and read its header.

    Args:
        path: The image.

    Returns:
        Not decoded yet.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If the file is not an image.
    """
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise _missing(path) from None
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


def decode_fast(path: str, shrink: float) -> np.ndarray:
    """Decode an image, smaller if it is a JPEG that will be shrunk anyway.

    Args:
        path: The image.
        shrink: By how much the first resize shrinks it (2 halves it).

    Returns:
        uint8 (h, w, 3) **BGR**, as OpenCV decodes; sides divided by
        1, 2, 4 or 8 and rounded up.

    Raises:
        OSError: If the image is broken or cut off.
    """
    if not path.lower().endswith(_JPEG_SUFFIXES):
        return _decode_bgr(path)
    reductions = (flag for factor, flag in _REDUCTIONS if shrink >= factor)
    flags = next(reductions, cv2.IMREAD_COLOR)
    data = _read_bytes(path)
    if not data:  # OpenCV asserts that there is something
        return _decode_bgr(path)
    # OpenCV fills a file that was cut off with grey; PIL, which decides here
    # whether what lacks the end marker can be read, raises.
    whole = data[-2:] == b'\xff\xd9'
    image = cv2.imdecode(
        np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION
    )
    return image if image is not None and whole else _decode_bgr(path)


def _decode_bgr(path: str) -> np.ndarray:
    return cv2.cvtColor(np.asarray(decode_exact(path)), cv2.COLOR_RGB2BGR)


def first_shrink(geometry: ClipGeometry) -> float:
    """Tell by how much the first resize shrinks the file's image.

    Args:
        geometry: The clip's geometry.

    Returns:
        The smaller ratio of the two sides; 1 if the pixels are cropped
        or shifted first.
    """
    if geometry.shift is not None:
        return 1.0
    for step in geometry.steps:
        if isinstance(step, Crop):
            return 1.0
        if isinstance(step, Resize):
            height, width = geometry.source_shape
            return min(height / step.height, width / step.width)
    return 1.0


def apply_exact(image: Image.Image, geometry: ClipGeometry) -> Image.Image:
    """Apply the steps one after the other with PIL.

    Args:
        image: One frame.
        geometry: The clip's geometry.

    Returns:
        The augmented frame.
    """
    for step in geometry.steps:
        if isinstance(step, Flip):
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        elif isinstance(step, Crop):
            image = image.crop(
                (step.left, step.top, step.left + step.width, step.top + step.height)
            )
        else:
            image = resize_exact(image, step.height, step.width)
    return image


def resize_exact(image: Image.Image, height: int, width: int) -> Image.Image:
    """Resize with PIL's antialiased bilinear filter.

    Args:
        image: The image.
        height: New height.
        width: New width.

    Returns:
        The same image if it has that size.
    """
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling.BILINEAR)


def shift_exact(image: Image.Image, window: Crop, num_frames: int) -> list[Image.Image]:
    """Make a clip from a static image, each frame from the previous one.

    Args:
        image: The first frame.
        window: What remains of a frame.
        num_frames: T.

    Returns:
        T frames of one size.
    """
    frames = [image]
    box = (
        window.left,
        window.top,
        window.left + window.width,
        window.top + window.height,
    )
    for _ in range(1, num_frames):
        frames.append(resize_exact(frames[-1].crop(box), image.height, image.width))
    return frames


def resize_fast(
    image: np.ndarray, height: int, width: int, out: np.ndarray | None = None
) -> np.ndarray:
    """Resize with PyTorch's antialiased bilinear uint8 kernel.

    Args:
        image: uint8 (H, W, C).
        height: New height.
        width: New width.
        out: uint8 (height, width, C) to write into; memory
            that is used again is much faster than fresh memory.

    Returns:
        uint8 (height, width, C); without ``out`` the same array if
        it has that size.
    """
    if image.shape[:2] == (height, width):
        if out is None:
            return image
        out[:] = image
        return out
    if out is None:
        out = np.empty((height, width, image.shape[2]), dtype=np.uint8)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    target = torch.from_numpy(out).permute(2, 0, 1)[None]
    # What F.interpolate(..., mode='bilinear', antialias=True) calls; it has no out.
    torch.ops.aten._upsample_bilinear2d_aa.out(
        pixels, [height, width], False, None, None, out=target
    )
    return out


def shift_fast(image: np.ndarray, window: Crop, num_frames: int) -> list[np.ndarray]:
    """Make a clip from a static image; see :func:`shift_exact`.

    Args:
        image: uint8 (H, W, C), the first frame.
        window: What remains of a frame.
        num_frames: T.

    Returns:
        T frames uint8 (H, W, C).
    """
    frames = [image]
    for _ in range(1, num_frames):
        kept = frames[-1][
            window.top : window.top + window.height,
            window.left : window.left + window.width,
        ]
        frames.append(resize_fast(kept, *image.shape[:2]))
    return frames


def apply_fast(image: np.ndarray, geometry: ClipGeometry, out: np.ndarray) -> None:
    """Apply the steps to an array.

    Args:
        image: uint8 (h, w, C) of the whole frame; may be a
            reduced decoding of it if the first step that is not a flip is a
            resize.
        geometry: The clip's geometry.
        out: uint8 (H, W, C), where the result goes.
    """
    last = len(geometry.steps) - 1
    for number, step in enumerate(geometry.steps):
        if isinstance(step, Flip):
            image = cv2.flip(image, 1).reshape(image.shape)
        elif isinstance(step, Crop):
            image = image[
                step.top : step.top + step.height, step.left : step.left + step.width
            ]
        else:
            target = out if number == last else None
            image = resize_fast(image, step.height, step.width, target)
    if image is not out:
        out[:] = image
