# Copyright (c) mmfdta authors.
"""Finds out what a source is."""

import glob
import itertools
import os
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mmfdta.structures.frames import (
    IMAGE_SUFFIXES,
    find_image_dir,
    find_stray,
    is_image,
    list_images,
    natural_key,
    number_images,
    read_seqinfo,
    without_thumbnails,
)

from .base import FrameSource, SourceOptions
from .camera import CameraSource
from .images import ImageSource
from .video import VideoSource


def open_source(
    source: str | os.PathLike | int, options: SourceOptions | None = None
) -> FrameSource:
    """Find out what a source is and open it.

    Args:
        source: A video file, an image, a folder of images (or of a sequence, with
            ``img1`` or the ``imDir`` of ``seqinfo.ini``), a pattern such as
            ``frames/*.jpg``, the index of a camera, or an address such as
            ``rtsp://...``. Images are sorted by name, numbers by value.
        options: How it is read.

    Raises:
        FileNotFoundError: If there is nothing.
        OSError: If it cannot be opened.
        ValueError: If two images of a folder have the same number.
    """
    options = options or SourceOptions()
    text = str(source)
    if text.isdecimal() and not Path(text).exists():
        return CameraSource(int(text), f'camera {text}')
    if '://' in text:
        return VideoSource(text, _without_password(text), options)
    path = Path(text)
    if path.is_dir():
        images = _folder_images(path)
        if not images:
            raise FileNotFoundError(
                f'{path}: a folder without images ({", ".join(IMAGE_SUFFIXES)}); '
                'name a video, or a folder with the frames of one'
            )
        return ImageSource(images, path.name or text, options)
    if path.is_file():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return ImageSource([path], path.name, options)
        return VideoSource(text, text, options)
    if glob.has_magic(text):
        found = [Path(name) for name in glob.glob(text, recursive=True)]
        images = _images(found)
        if not images:
            raise FileNotFoundError(
                f'{text}: matches {len(found)} files, but no images '
                f'({", ".join(IMAGE_SUFFIXES)}); name videos one by one'
            )
        return ImageSource(images, text, options)
    raise FileNotFoundError(
        f'{text}: no such video, folder or image; expected one of these, a pattern '
        "such as 'frames/*.jpg', the index of a camera or an address rtsp://..."
    )


def _folder_images(folder: Path) -> list[Path]:
    """List the images of a folder, or of the sequence that it is."""
    suffix = None
    if not any(is_image(path.name) and path.is_file() for path in folder.iterdir()):
        ini = folder / 'seqinfo.ini'
        info = read_seqinfo(ini if ini.is_file() else None)
        suffix = info.suffix
        inside = find_image_dir(folder, info)
        if inside is None or not any(is_image(path.name) for path in inside.iterdir()):
            return []
        folder = inside
    names = list_images(folder, suffix)
    _check_names(names, folder)
    return [folder / name for name in names]


def _images(paths: Iterable[Path]) -> list[Path]:
    """Sort the images among files by name, numbers by value."""
    images = [path for path in paths if is_image(path.name) and path.is_file()]
    full = set(without_thumbnails(path.name for path in images))
    images = [path for path in images if path.name in full]
    images.sort(key=lambda path: natural_key(str(path)))
    for folder, group in itertools.groupby(images, key=lambda path: path.parent):
        _check_names([path.name for path in group], folder)
    return images


def _check_names(names: list[str], folder: Path) -> None:
    """Warn of images that lack between others, or are not named like the others.

    Raises:
        ValueError: If two images have the same number.
    """
    stray = find_stray(names)
    if stray is not None:
        warnings.warn(
            f'{folder}: {stray[0]} is among images such as {stray[1]}; it is taken for '
            "a frame, in the order of names. A pattern such as 'frames/0*.jpg' chooses "
            'images',
            stacklevel=5,
        )
    numbers = number_images(names, folder, allow_mixed=True)
    if numbers is None or len(names) < 3:
        return
    steps = np.diff(numbers)
    gaps = np.flatnonzero(steps != steps.min())
    if len(gaps):
        i = gaps[0]
        warnings.warn(
            f'{folder}: {names[i + 1]} comes after {names[i]}, is something missing? '
            f'There are {len(gaps)} such gaps; the frames of the results are counted '
            'without them',
            stacklevel=5,
        )


def _without_password(address: str) -> str:
    return re.sub(r'://[^/@]*@', '://', address)
