# Copyright (c) mmfdta authors.
"""Image files as the frames of a video."""

import contextlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from .base import FrameSource, SourceFrame, SourceOptions
from .image_files import ORIENTATIONS, NotDecodable, is_deep, open_picture, read_image
from .pixels import ValueRange, find_range, to_bgr, turn

_SAMPLES = 16
# What browsers show an image for that says less than this.
_LEAST_MILLISECONDS, _MILLISECONDS = 11, 100
ANIMATED = ('PNG', 'WEBP', 'TIFF', 'AVIF', 'GIF')


class ImageSource(FrameSource):
    """Image files, one frame each; or one file with several.

    Args:
        paths: In the order of time.
        name: What messages call it.
        options: How they are read.
        frame_rate: What a file next to them says.
        upright: Follow the orientation in EXIF. Annotations of data sets do not.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        name: str,
        options: SourceOptions,
        frame_rate: float | None = None,
        upright: bool = True,
    ) -> None:
        super().__init__(name, options.frame_rate or frame_rate, len(paths))
        self._paths = paths
        self._options = options
        self._upright = upright
        self._lies = False
        self._range: ValueRange | None = None
        if options.value_range is not None:
            self._range = ValueRange(*options.value_range)

    def __iter__(self) -> Iterator[SourceFrame]:
        """Yield the frames.

        Raises:
            OSError: If not even the first image can be decoded.
        """
        given = 0
        for number, path in enumerate(self._paths, start=1):
            if self._closed.is_set():
                return
            try:
                image, orientation = read_image(path)
            except OSError as error:
                if self._options.skip_broken:
                    self.skipped += 1
                    self._say(f'frame {number} of {len(self._paths)}: {error}')
                    continue
                if not given:
                    raise
                self.problem = f'frame {number} of {len(self._paths)}: {error}'
                return
            given += 1
            time = (number - 1) / self.frame_rate if self.frame_rate else None
            yield SourceFrame(number, self._finish(image, orientation, number), time)
        if not given:
            raise OSError(
                f'{self.name}: none of {len(self._paths)} images can be decoded'
            )

    def _finish(self, image: np.ndarray, orientation: int, number: int) -> np.ndarray:
        """Give values and orientation that a frame has."""
        if image.dtype != np.uint8:
            if self._range is None:
                samples = {number: image, **self._sample(number)}
                self._range = find_range(samples.values())
                self._say(
                    f'the values of its {image.dtype} images from {self._range} are '
                    f'shown as black to white; found in {len(samples)} of '
                    f'{self.num_frames}. --value-range LOW HIGH sets this'
                )
            image = self._range.to_bytes(image)
        image = to_bgr(image)
        if orientation in ORIENTATIONS:
            if self._upright:
                return turn(image, ORIENTATIONS[orientation])
            if not self._lies:
                self._lies = True
                self._say(
                    'EXIF says that images are turned; in a data set this is not '
                    'followed, because its annotations do not follow it'
                )
        return image

    def _sample(self, known: int) -> dict[int, np.ndarray]:
        """Read deep images all over the sequence, by number, but one that is known."""
        images = {}
        for number in _spread(len(self._paths)) - {known}:
            with contextlib.suppress(OSError):  # it is reported when it is its turn
                if is_deep(self._paths[number - 1]):
                    images[number] = read_image(self._paths[number - 1])[0]
        return images


class AnimationSource(ImageSource):
    """One file with several images: animated WebP, PNG or AVIF, or pages of a TIFF.

    Args:
        path: The file.
        name: What messages call it.
        options: How it is read.

    Raises:
        OSError: If it is no image.
    """

    def __init__(self, path: Path, name: str, options: SourceOptions) -> None:
        super().__init__([path], name, options)
        with open_picture(path) as image:
            self._first = int(bool(image.info.get('default_image')))
            self.num_frames = getattr(image, 'n_frames', 1) - self._first
            image.seek(self._first)
            image.load()
            if self.frame_rate is None and 'duration' in image.info:
                self.frame_rate = Fraction(1000, _duration(image))

    def __iter__(self) -> Iterator[SourceFrame]:
        """Yield the frames.

        Raises:
            OSError: If not even the first image can be decoded.
        """
        (path,) = self._paths
        clock = Fraction(0)
        with open_picture(path) as image:
            for place in range(self._first, getattr(image, 'n_frames', 1)):
                number = place - self._first + 1
                if self._closed.is_set():
                    return
                try:
                    image.seek(place)
                    pixels, orientation = read_image(path, image)
                except (OSError, EOFError, SyntaxError) as error:
                    reason = f'image {number} of {self.num_frames}: {error}'
                    if number == 1 and not self._options.skip_broken:
                        raise OSError(f'{self.name}: {reason}') from None
                    if not self._options.skip_broken:
                        self.problem = f'{self.name}: {reason}'
                        return
                    self.skipped += 1
                    continue
                time: Fraction | float | None = clock
                if 'duration' not in image.info or self._options.frame_rate:
                    rate = self._options.frame_rate
                    time = (number - 1) / rate if rate else None
                yield SourceFrame(
                    number, self._finish(pixels, orientation, number), time
                )
                clock += Fraction(_duration(image), 1000)

    def _sample(self, known: int) -> dict[int, np.ndarray]:
        images = {}
        with open_picture(self._paths[0]) as image:
            for number in sorted(_spread(self.num_frames or 1) - {known}):
                with contextlib.suppress(OSError, EOFError, SyntaxError):
                    image.seek(number - 1 + self._first)
                    images[number] = read_image(self._paths[0], image)[0]
        return images


def _spread(count: int) -> set[int]:
    """Choose a few of the numbers from 1 to ``count``, evenly."""
    return set(np.linspace(1, count, _SAMPLES).astype(int).tolist())


def count_images(path: Path) -> int:
    """Count the images of a file of a kind that may hold an animation.

    Raises:
        OSError: If it is no image.
    """
    try:
        with open_picture(path) as image:
            if image.format not in ANIMATED:
                return 1  # the others of a phone's JPEG are previews
            first = bool(image.info.get('default_image'))
            return getattr(image, 'n_frames', 1) - first
    except NotDecodable:
        return 1


def _duration(image: Image.Image) -> int:
    """Milliseconds for which the current image is shown."""
    said = round(float(image.info.get('duration', 0)))
    return said if said >= _LEAST_MILLISECONDS else _MILLISECONDS
