# Copyright (c) mmfdta authors.
"""Makes the input of a detector from a frame: resizing and padding of arrays."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mmfdta.structures.frame_sizes import (
    Size,
    fitting_size,
    inference_size,
    size_by_factor,
    size_within,
)

CHANNEL_ORDERS = ('rgb', 'bgr')
# MMCV's names of the kernels.
_OPENCV = dict(
    nearest=cv2.INTER_NEAREST,
    bilinear=cv2.INTER_LINEAR,
    bicubic=cv2.INTER_CUBIC,
    area=cv2.INTER_AREA,
    lanczos=cv2.INTER_LANCZOS4,
)
_PILLOW = {kind.name.lower(): kind for kind in Image.Resampling}
_KERNELS: Mapping[str, Mapping[str, int]] = dict(cv2=_OPENCV, pillow=_PILLOW)
RULES = ('short-side', 'fit', 'exact', 'factor', 'none')


@dataclass(frozen=True)
class ResizeRule:
    """How frames are resized.

    Attributes:
        rule: ``'short-side'``: the short side becomes ``short``, the long one at most
            ``max_long``, truncated (:func:`inference_size`). ``'fit'``: as large as
            ``scale`` allows for long and short side, rounded (:func:`size_within`).
            ``'exact'``: ``scale``, width and height, for any ratio. ``'factor'``: each
            side times its factor, rounded. ``'none'``: no resizing.
        short: Short side after resizing.
        max_long: Limit of the long side; None for no limit.
        scale: Two sides.
        factors: Factors of width and height.
        backend: Library of the kernels, ``'pillow'`` or ``'cv2'``. Pillow's are
            antialiased.
        interpolation: MMCV's name of the kernel.

    Raises:
        ValueError: If there is no such rule or kernel, or a number is missing.
    """

    rule: str = 'none'
    short: int | None = None
    max_long: int | None = None
    scale: tuple[int, int] | None = None
    factors: tuple[float, float] | None = None
    backend: str = 'pillow'
    interpolation: str = 'bilinear'

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(
                f'rule: found {self.rule!r}, expected one of {", ".join(RULES)}'
            )
        wanted = {'short-side': 'short', 'factor': 'factors', 'none': 'rule'}
        name = wanted.get(self.rule, 'scale')
        if getattr(self, name) is None:
            raise ValueError(f'{name}: found nothing, but the rule is {self.rule!r}')
        if self.interpolation not in _KERNELS.get(self.backend, {}):
            known = '; '.join(f'{b}: {", ".join(k)}' for b, k in _KERNELS.items())
            raise ValueError(
                f'backend: found {self.backend!r} with {self.interpolation!r}, '
                f'expected one of {known}'
            )

    def size_of(self, shape: Size) -> Size:
        """Return the size of a frame after resizing.

        Args:
            shape: (H, W) of the frame.

        Returns:
            New (H, W).
        """
        if self.rule == 'short-side' and self.short is not None:
            return inference_size(shape, self.short, self.max_long)
        if self.rule == 'factor' and self.factors is not None:
            return size_by_factor(shape, self.factors)
        if self.rule == 'none' or self.scale is None:
            return shape
        if self.rule == 'fit':
            return size_within(shape, self.scale)
        return self.scale[1], self.scale[0]

    def resize(self, image: np.ndarray, size: Size) -> np.ndarray:
        """Resize pixels.

        Args:
            image: uint8 (h, w, C).
            size: New (H, W).

        Returns:
            uint8 (H, W, C); the image itself if it has this size.
        """
        if image.shape[:2] == size:
            return image
        kernel, target = _KERNELS[self.backend][self.interpolation], size[::-1]
        if self.backend == 'cv2':
            return cv2.resize(image, target, interpolation=kernel)
        resized = Image.fromarray(image).resize(target, Image.Resampling(kernel))
        return np.asarray(resized)


@dataclass(frozen=True)
class PreparedFrame:
    """A frame as the input of a detector.

    Attributes:
        pixels: uint8 (3, H, W), with padding, channels in the order of the network.
        shape: (h, w) without padding.
        original: (H, W) of the original frame.
    """

    pixels: np.ndarray
    shape: Size
    original: Size


@dataclass(frozen=True)
class FrameInput:
    """The input of an exported model: its key ``input``.

    Pixels are not normalised; the graph of the detector does this.

    Attributes:
        channel_order: ``'rgb'`` or ``'bgr'``, the order of the network.
        resize: How frames are resized.
        pad_divisor: Height and width become multiples of it.
        pad_value: Grey level of the padding, 0..255. None: padding is 0 after
            normalisation. The graph does this: with a fixed size it gets the size
            without padding, and otherwise frames without padding.
        size: Width and height of all frames after padding; None: each has its own.
            Larger frames are shrunk to fit.
        mean: Per channel, 0..255; for information.
        std: Per channel, 0..255; for information.
    """

    channel_order: str = 'rgb'
    resize: ResizeRule = field(default_factory=ResizeRule)
    pad_divisor: int = 1
    pad_value: int | None = None
    size: tuple[int, int] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __call__(
        self, image: np.ndarray, index: int = 0, video: str = '', num_frames: int = 0
    ) -> PreparedFrame:
        """Prepare a frame.

        Args:
            image: uint8 (H, W, 3) BGR.
            index: Unused; part of the interface of preprocessors.
            video: Unused; part of the interface of preprocessors.
            num_frames: Unused; part of the interface of preprocessors.
        """
        height, width = image.shape[:2]
        rows, columns = self.input_shape(height, width)
        pixels = self.resize.resize(image, (rows, columns)).transpose(2, 0, 1)
        if self.channel_order == 'rgb':
            pixels = pixels[::-1]
        padded = self._padded((rows, columns))
        if padded == (rows, columns):
            pixels = np.ascontiguousarray(pixels)
        else:
            frame = np.full((3, *padded), self.pad_value or 0, np.uint8)
            frame[:, :rows, :columns] = pixels
            pixels = frame
        return PreparedFrame(pixels, (rows, columns), (height, width))

    def input_shape(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of a frame after resizing.

        Args:
            height: Height of the frame, in pixels.
            width: Width of the frame, in pixels.

        Returns:
            Height and width, before padding.
        """
        size = self.resize.size_of((height, width))
        return size if self.size is None else fitting_size(size, self.size[::-1])

    def _padded(self, shape: Size) -> Size:
        if self.size is not None:
            return self.size[1], self.size[0]
        if self.pad_value is None:
            return shape
        height, width = (-(-side // self.pad_divisor) for side in shape)
        return height * self.pad_divisor, width * self.pad_divisor

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        resize = {k: v for k, v in asdict(self.resize).items() if v is not None}
        return asdict(self) | dict(resize=resize)

    @classmethod
    def from_dict(cls, values: Any, where: str = 'input') -> 'FrameInput':
        """Make an object from the result of :meth:`to_dict`.

        Args:
            values: A mapping.
            where: Its name in messages, such as ``model.json: input``.

        Raises:
            ValueError: If a key is missing or unknown, or a value is not allowed.
        """
        found = _checked(values, {item.name for item in fields(cls)}, where)
        names = {item.name for item in fields(ResizeRule)}
        optional = names - {'rule'}
        rule = _checked(found['resize'], names, f'{where}.resize', optional)
        for name in ('scale', 'factors'):
            if rule.get(name) is not None:
                rule[name] = _pair(rule[name], f'{where}.resize.{name}')
        for name in ('short', 'max_long'):
            if rule.get(name) is not None:
                _check_whole(rule[name], f'{where}.resize.{name}')
        if rule['rule'] == 'exact':
            for side in rule.get('scale') or ():
                _check_whole(side, f'{where}.resize.scale')
        if found['size'] is not None:
            found['size'] = _pair(found['size'], f'{where}.size')
            for side in found['size']:
                _check_whole(side, f'{where}.size')
        if found['channel_order'] not in CHANNEL_ORDERS:
            raise ValueError(
                f'{where}.channel_order: found {found["channel_order"]!r}, expected '
                "'rgb' or 'bgr'"
            )
        value = found['pad_value']
        _check_whole(found['pad_divisor'], f'{where}.pad_divisor')
        if value is not None and not (isinstance(value, int) and 0 <= value <= 255):
            raise ValueError(f'{where}.pad_value: found {value!r}, expected 0 to 255')
        for name in ('mean', 'std'):
            levels = found[name]
            if not isinstance(levels, list | tuple) or not all(map(_is_number, levels)):
                raise ValueError(
                    f'{where}.{name}: found {levels!r}, expected a number per channel'
                )
            found[name] = tuple(levels)
        try:
            found['resize'] = ResizeRule(**rule)
        except ValueError as error:
            raise ValueError(f'{where}.resize.{error}') from None
        return cls(**found)


def _checked(
    values: Any, names: set[str], where: str, optional: set[str] | None = None
) -> dict[str, Any]:
    """Copy a mapping, which must have these keys and no others."""
    if not isinstance(values, Mapping):
        raise ValueError(f'{where}: found {values!r}, expected keys and values')
    missing = sorted(names - set(values) - (optional or set()))
    unknown = sorted(set(values) - names)
    if missing or unknown:
        found = f'no {missing[0]}' if missing else f'the unknown key {unknown[0]}'
        raise ValueError(f'{where}: found {found}, expected {", ".join(sorted(names))}')
    return dict(values)


def _pair(value: Any, where: str) -> tuple:
    fits = isinstance(value, list | tuple) and len(value) == 2
    if not (fits and all(_is_number(n) and n > 0 for n in value)):
        raise ValueError(f'{where}: found {value!r}, expected two numbers above 0')
    return tuple(value)


def _check_whole(value: Any, where: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f'{where}: found {value!r}, expected a whole number from 1 on')


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
