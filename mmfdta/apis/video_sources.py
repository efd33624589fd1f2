# Copyright (c) mmfdta authors.
"""Where frames come from: videos, images, cameras and streams."""

import glob
import itertools
import math
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from mmfdta.datasets.transforms.decoding import decode_exact
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
from mmfdta.visualization.video_writer import silent_opencv

# Containers count frames wrongly by a few; more is a file that was cut off.
_MISCOUNTED_FRAMES = 2
_MISCOUNTED_SHARE = 0.01


class FrameSource:
    """Frames in their order, read once.

    Attributes:
        name: What messages and results call it.
        frame_rate: Frames per second, None if unknown.
        num_frames: How many there will be, None if unknown.
        live: The frames come when they come, and end when they are stopped; a camera
            or a stream.
        problem: After reading: why the frames ended too early.
    """

    def __init__(
        self,
        name: str,
        frame_rate: float | None = None,
        num_frames: int | None = None,
        live: bool = False,
    ) -> None:
        self.name = name
        self.frame_rate = frame_rate
        self.num_frames = num_frames
        self.live = live
        self.problem: str | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield frames, uint8 (H, W, 3) BGR."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the file or device."""


class CaptureSource(FrameSource):
    """What OpenCV captures: a video file, a camera or a stream.

    Args:
        target: Path, address or index of a camera.
        name: What messages call it.

    Raises:
        OSError: If it cannot be opened.
    """

    def __init__(self, target: str | int, name: str) -> None:
        with silent_opencv():
            self._capture = cv2.VideoCapture(target)
        if not self._capture.isOpened():
            raise OSError(
                f'{name}: OpenCV cannot open it. Is it a video that is whole, or a '
                'camera or stream that is on and free?'
            )
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        known = math.isfinite(count) and count >= 1
        super().__init__(
            name,
            frame_rate=rate if math.isfinite(rate) and 0 < rate <= 1000 else None,
            num_frames=int(count) if known else None,
            live=not known,
        )

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield frames, uint8 (H, W, 3) BGR.

        Raises:
            OSError: If not even the first frame can be decoded.
        """
        found = 0
        while True:
            ok, image = self._capture.read()
            if not ok:
                break
            found += 1
            yield image
        if not found:
            raise OSError(f'{self.name}: not one frame can be decoded')
        if self.live:
            self.problem = f'{self.name}: the stream ended after {found} frames'
            return
        if self.num_frames is None:
            return
        missing = self.num_frames - found
        allowed = max(_MISCOUNTED_FRAMES, _MISCOUNTED_SHARE * self.num_frames)
        if missing > allowed:
            self.problem = (
                f'{self.name}: the video announces {self.num_frames} frames, but ends '
                f'after {found}. Was it cut off?'
            )

    def close(self) -> None:
        """Let go of the file or device."""
        self._capture.release()


class ImageSource(FrameSource):
    """Image files, one frame each.

    Args:
        paths: In the order of time.
        name: What messages call it.
    """

    def __init__(self, paths: list[Path], name: str) -> None:
        super().__init__(name, num_frames=len(paths))
        self._paths = paths

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield frames, uint8 (H, W, 3) BGR.

        Raises:
            OSError: If not even the first image can be decoded.
        """
        for i, path in enumerate(self._paths):
            try:
                image = decode_exact(str(path))
            except OSError as error:
                if i == 0:
                    raise
                self.problem = f'frame {i + 1} of {len(self._paths)}: {error}'
                return
            yield cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR)


def open_source(source: str | os.PathLike | int) -> FrameSource:
    """Find out what a source is and open it.

    Args:
        source: A video file, an image, a folder of images (or of a sequence, with
            ``img1`` or the ``imDir`` of ``seqinfo.ini``), a pattern such as
            ``frames/*.jpg``, the index of a camera, or an address such as
            ``rtsp://...``. Images are sorted by name, numbers by value.

    Raises:
        FileNotFoundError: If there is nothing.
        OSError: If it cannot be opened.
        ValueError: If two images of a folder have the same number.
    """
    text = str(source)
    if text.isdecimal() and not Path(text).exists():
        return CaptureSource(int(text), f'camera {text}')
    if '://' in text:
        return CaptureSource(text, _without_password(text))
    path = Path(text)
    if path.is_dir():
        images = _folder_images(path)
        if not images:
            raise FileNotFoundError(
                f'{path}: a folder without images ({", ".join(IMAGE_SUFFIXES)}); '
                'name a video, or a folder with the frames of one'
            )
        return ImageSource(images, path.name or text)
    if path.is_file():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return ImageSource([path], path.name)
        return CaptureSource(text, text)
    if glob.has_magic(text):
        found = [Path(name) for name in glob.glob(text, recursive=True)]
        images = _images(found)
        if not images:
            raise FileNotFoundError(
                f'{text}: matches {len(found)} files, but no images '
                f'({", ".join(IMAGE_SUFFIXES)}); name videos one by one'
            )
        return ImageSource(images, text)
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
