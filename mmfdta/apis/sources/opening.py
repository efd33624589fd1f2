# Copyright (c) mmfdta authors.
"""Finds out what a source is."""

import glob
import itertools
import mimetypes
import os
import re
import warnings
from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from mmfdta.structures.frames import (
    IMAGE_SUFFIXES,
    SequenceInfo,
    find_image_dir,
    find_stray,
    is_image,
    list_images,
    natural_key,
    number_images,
    read_seqinfo,
    without_thumbnails,
)
from mmfdta.utils.addresses import local_path, without_password

from .base import FrameSource, SourceOptions
from .camera import CameraSource
from .image_files import SUFFIXES, may_be_image
from .images import AnimationSource, ImageSource, count_images
from .video import LIVE_PROTOCOLS, VideoSource

Source = str | os.PathLike | int | SequenceOf[str | os.PathLike]


def open_source(source: Source, options: SourceOptions | None = None) -> FrameSource:
    """Find out what a source is and open it.

    Args:
        source: A video file, an image, a folder of images (or of a sequence, with
            ``img1`` or the ``imDir`` of ``seqinfo.ini``), a pattern such as
            ``frames/*.jpg`` or ``frames/%06d.jpg``, the index of a camera, an address
            such as ``rtsp://...``, or ``-`` for standard input. Images are sorted by
            name, numbers by value. A list is one of images, in its order.
        options: How it is read.

    Raises:
        FileNotFoundError: If there is nothing.
        OSError: If it cannot be opened.
        ValueError: If two images of a folder have the same number.
    """
    options = options or SourceOptions()
    if not isinstance(source, str | os.PathLike | int):
        return _open_list([Path(path) for path in source], options)
    text = os.fspath(source) if isinstance(source, os.PathLike) else str(source)
    if text == '-':
        return VideoSource(None, 'standard input', options)
    text = local_path(text) or text
    path = Path(text)
    if is_camera(text):
        if text.isdecimal():
            return CameraSource(int(text), f'camera {text}')
        return CameraSource(text, text)
    if '://' in text:
        return VideoSource(text, without_password(text), options)
    if path.is_dir():
        return _open_folder(path, path.name or text, options)
    if path.exists():  # a file, or a pipe with a name
        return _open_file(path, text, options)
    listed = match_pattern(text)
    if listed is not None:
        images = _images(listed)
        if not images:
            raise FileNotFoundError(
                f'{text}: matches {len(listed)} files, but no images '
                f'({", ".join(IMAGE_SUFFIXES)}); name videos one by one'
            )
        upright = not _is_sequence(images[0].parent)
        return ImageSource(images, text, options, upright=upright)
    raise FileNotFoundError(
        f'{text}: no such video, folder or image; expected one of these, a pattern '
        "such as 'frames/*.jpg' or 'frames/%06d.jpg', the index of a camera, an "
        'address rtsp://... or - for standard input'
    )


def match_pattern(text: str) -> list[Path] | None:
    """List what a pattern matches, in no order.

    Args:
        text: Such as ``frames/*.jpg``, ``days/**/*.jpg`` (in the folder and in all
            below it) or ``frames/%06d.jpg``.

    Returns:
        Files and folders; None if it is no pattern.
    """
    numbered = _match_numbers(text)
    return _match_glob(text) if numbered is None else numbered


def kind_of_source(source: str) -> str:
    """Tell how a source may be read.

    Args:
        source: As :func:`open_source` takes it. An address that tells neither by its
            protocol nor by its suffix is opened.

    Returns:
        ``'live'``: a camera or a stream, which does not wait; ``'pipe'``: standard
        input or a pipe, which is there once; ``'file'``: a file, images, a file on a
        server; ``'silent'``: an address that does not answer, which may be either.
    """
    if is_camera(source):
        return 'live'
    if source == '-':
        return 'pipe'
    path = local_path(source)
    if path is not None:
        return 'pipe' if Path(path).is_fifo() else 'file'
    if source.partition('://')[0].lower() in LIVE_PROTOCOLS:
        return 'live'
    kind = mimetypes.guess_type(urlsplit(source).path)[0] or ''
    if kind.startswith(('video/', 'image/')):
        return 'file'
    try:
        opened = open_source(source)
    except OSError:
        return 'silent'
    opened.close()
    return 'live' if opened.live else 'file'


def is_camera(source: str) -> bool:
    """Tell whether a source is a camera of this machine."""
    number = source.isdecimal() and not Path(source).exists()
    return number or re.fullmatch(r'/dev/video\d+', source) is not None


def _open_list(paths: list[Path], options: SourceOptions) -> FrameSource:
    wrong = [
        p for p in paths if not p.is_file() or not p.name.lower().endswith(SUFFIXES)
    ]
    if wrong or not paths:
        raise FileNotFoundError(
            f'{wrong[0] if wrong else "an empty list"}: no such image; a list names '
            'images, one for each frame'
        )
    upright = not _is_sequence(paths[0].parent)
    return ImageSource(paths, f'{len(paths)} images', options, upright=upright)


def _open_file(path: Path, text: str, options: SourceOptions) -> FrameSource:
    if path.is_fifo():
        return VideoSource(None, text, options, pipe=text)
    if path.is_file() and not path.stat().st_size:
        raise OSError(f'{text}: the file is empty; was the download interrupted?')
    if not path.name.lower().endswith(SUFFIXES):
        return VideoSource(text, text, options)
    if count_images(path) > 1:
        return AnimationSource(path, path.name, options)
    upright = not _is_sequence(path.parent)
    return ImageSource([path], path.name, options, upright=upright)


def _open_folder(folder: Path, name: str, options: SourceOptions) -> FrameSource:
    """Open a folder of images, or the sequence of a data set."""
    info, images, of_data = SequenceInfo(), folder, _is_sequence(folder)
    if not any(is_image(path.name) and path.is_file() for path in folder.iterdir()):
        ini = folder / 'seqinfo.ini'
        info = read_seqinfo(ini if ini.is_file() else None)
        inside = find_image_dir(folder, info)
        of_data = of_data or inside is not None
        images = folder if inside is None else inside
    elif of_data:
        ini = folder.parent / 'seqinfo.ini'
        info = read_seqinfo(ini if ini.is_file() else None)
    rate = info.frame_rate or None
    if any(is_image(path.name) for path in images.iterdir()):
        names = list_images(images, info.suffix)
        _check_names(names, images)
        paths = [images / name for name in names]
    else:
        paths = _images(images.iterdir())
    if not paths:
        raise FileNotFoundError(
            f'{folder}: a folder without images ({", ".join(IMAGE_SUFFIXES)}); '
            'name a video, or a folder with the frames of one'
        )
    return ImageSource(paths, name, options, rate, upright=not of_data)


def _is_sequence(folder: Path) -> bool:
    """Tell whether images are those of a sequence with annotations next to them."""
    return any(
        (place / name).exists()
        for place in (folder, folder.parent)
        for name in ('seqinfo.ini', 'gt')
    )


def _match_glob(text: str) -> list[Path] | None:
    if not glob.has_magic(text):
        return None
    return [Path(name) for name in glob.glob(text, recursive=True)]


def _match_numbers(text: str) -> list[Path] | None:
    """List the files of a pattern such as `frames/%06d.jpg`, from any number on."""
    folder, pattern = os.path.split(text)
    found = re.fullmatch(r'((?:[^%]|%%)*)%(?:0?(\d+))?d((?:[^%]|%%)*)', pattern)
    if found is None or not Path(folder).is_dir():
        return None
    before, width, after = found.groups()
    digits = rf'\d{{{int(width)},}}' if width else r'\d+'
    wanted = re.compile(
        re.escape(before.replace('%%', '%'))
        + digits
        + re.escape(after.replace('%%', '%'))
    )
    return [p for p in Path(folder).iterdir() if wanted.fullmatch(p.name)]


def _images(paths: Iterable[Path]) -> list[Path]:
    """Sort the images among files by name, numbers by value."""
    images = [path for path in paths if may_be_image(path.name) and path.is_file()]
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
