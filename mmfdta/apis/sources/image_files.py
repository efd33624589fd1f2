# Copyright (c) mmfdta authors.
"""Reads single image files, with all their bits and their orientation.

Pillow decodes what has eight bits, as the data sets do; OpenCV what has more in
several channels; PyAV what neither knows.
"""

from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from mmfdta.structures.frames import IMAGE_SUFFIXES
from mmfdta.visualization.video_writer import silent_opencv

from .pixels import frame_pixels
from .pyav import TOLERANT

# Of single files and patterns; folders of data sets have IMAGE_SUFFIXES alone.
FURTHER_SUFFIXES = (
    *('.avif', '.heic', '.heif', '.jp2', '.tga', '.ppm', '.pgm', '.pnm', '.pfm'),
    *('.exr', '.hdr', '.dpx', '.jfif'),
)
SUFFIXES = (*IMAGE_SUFFIXES, *FURTHER_SUFFIXES)
# EXIF -> the first five values of a display matrix, see `pixels.turn`.
ORIENTATIONS = {
    2: (-1, 0, 0, 0, 1),
    3: (-1, 0, 0, 0, -1),
    4: (1, 0, 0, 0, -1),
    5: (0, 1, 0, 1, 0),
    6: (0, 1, 0, -1, 0),
    7: (0, -1, 0, -1, 0),
    8: (0, -1, 0, 1, 0),
}
_ORIENTATION, _BITS, _PNG_BITS = 0x0112, 258, 24


def may_be_image(name: str) -> bool:
    """Tell by its name whether a file is an image that is not hidden."""
    return not name.startswith('.') and name.lower().endswith(SUFFIXES)


class NotDecodable(OSError):
    """Pillow does not know this kind of image."""


def open_picture(path: Path) -> Image.Image:
    """Open an image with Pillow and read its header.

    Raises:
        NotDecodable: If Pillow does not know it.
        OSError: If it is not there or not an image.
    """
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise FileNotFoundError(f'{path}: no such image') from None
    except UnidentifiedImageError:
        raise NotDecodable(f'{path}: not an image that Pillow can read') from None
    except (Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise OSError(f'{path}: cannot read the image ({error})') from None


def is_deep(path: Path) -> bool:
    """Tell by its header whether an image has more than eight bits.

    Raises:
        OSError: If it is not an image.
    """
    try:
        with open_picture(path) as image:
            return _bits(path, image) > 8
    except NotDecodable:
        return True


def read_image(path: Path, opened: Image.Image | None = None) -> tuple[np.ndarray, int]:
    """Read an image as it is stored.

    Args:
        path: The file.
        opened: It, at one of its images.

    Returns:
        uint8 (H, W, 3) BGR; or, of images with more bits, their values (H, W) or
        (H, W, C) BGR. And the orientation that EXIF tells, 1 if nothing.

    Raises:
        OSError: If the image is broken or cut off.
    """
    try:
        image = opened or open_picture(path)
    except NotDecodable:
        return _read_otherwise(path), 1
    try:
        if opened is None and _bits(path, image) > 8 and len(image.getbands()) > 1:
            return _read_otherwise(path), _orientation(image)
        return _pixels(image), _orientation(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise OSError(
            f'{path}: cannot decode the image ({error}); was the download or the '
            'unpacking interrupted? Replace the file'
        ) from None
    finally:
        if opened is None:
            image.close()


def _bits(path: Path, image: Image.Image) -> int:
    if image.mode.startswith(('I', 'F')):
        return 16
    if image.format == 'PNG':
        with path.open('rb') as file:
            header = file.read(_PNG_BITS + 1)
        return header[_PNG_BITS]
    tags = getattr(image, 'tag_v2', None) if image.format == 'TIFF' else None
    return max(np.atleast_1d(tags.get(_BITS, 8))) if tags else 8


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # EXIF that is broken says nothing
        return 1


def _pixels(image: Image.Image) -> np.ndarray:
    """Decode with Pillow."""
    image.load()
    if image.mode.startswith(('I', 'F')):
        return np.asarray(image)
    if image.mode == 'La':
        image = image.convert('LA')
    if image.mode != 'RGB':
        image = image.convert('RGB')
    return np.asarray(image)[..., ::-1]


def _read_otherwise(path: Path) -> np.ndarray:
    """Decode with OpenCV, or with FFmpeg."""
    data = np.fromfile(path, np.uint8)
    with silent_opencv():
        try:
            flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
            image = cv2.imdecode(data, flags) if data.size else None
        except cv2.error:
            image = None
    if image is not None:
        return image
    try:
        with av.open(f'file:{path}', **TOLERANT) as container:
            frame = next(container.decode(container.streams.video[0]))
    except (av.FFmpegError, IndexError, StopIteration, ValueError):
        raise OSError(
            f'{path}: not an image that Pillow, OpenCV or FFmpeg can read; was the '
            'download or the unpacking interrupted? Replace the file'
        ) from None
    return frame_pixels(frame)
