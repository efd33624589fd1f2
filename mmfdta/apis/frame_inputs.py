# Copyright (c) mmfdta authors.
"""Frames in the forms in which programs have them: arrays, tensors, Pillow's images."""

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


_EXPECTED = (
    'expected uint8 (H, W, 3), (H, W, 4) or (H, W), a tensor (3, H, W) of uint8 or of '
    'floats from 0 to 1, or an image of Pillow'
)
_MODES = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'RGBX', 'CMYK', 'YCbCr', 'HSV')


def to_bgr(frame: Any, rgb: bool = False) -> np.ndarray:
    """Turn a frame into what the model's preprocessing takes.

    Transparency is left out; a single channel is grey.

    Args:
        frame: A NumPy array uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); a tensor
            (H, W), (C, H, W) or (H, W, C) of uint8, or of floats in 0..1; an image of
            Pillow, whose own colours count.
        rgb: Whether colours of arrays and tensors are in the order red, green, blue,
            else blue, green, red.

    Returns:
        uint8 (H, W, 3) BGR, contiguous.

    Raises:
        ValueError: If it is no such frame.
    """
    if _is_pillow(frame):
        image, rgb = _from_pillow(frame), True
    elif _is_tensor(frame):
        image = _from_tensor(frame)
    elif isinstance(frame, np.ndarray):
        image = frame
    else:
        raise ValueError(
            f'frame: found {type(frame).__name__}, {_EXPECTED}; track() takes the path '
            'of a video'
        )
    if image.ndim == 2:
        image = image[..., None]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise ValueError(
            f'frame: found {frame.dtype} {tuple(frame.shape)}, {_EXPECTED}'
        )
    if not image.size:
        raise ValueError(f'frame: found an empty image {tuple(image.shape)}')
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    image = image[..., 2::-1] if rgb else image[..., :3]
    return np.ascontiguousarray(image)


def _is_tensor(frame: Any) -> bool:
    """Tell a tensor; whoever has one has loaded PyTorch."""
    torch = sys.modules.get('torch')
    return torch is not None and isinstance(frame, torch.Tensor)


def _is_pillow(frame: Any) -> bool:
    return any(c.__module__ == 'PIL.Image' for c in type(frame).__mro__)


def _from_pillow(frame: Any) -> np.ndarray:
    if frame.mode not in _MODES:
        raise ValueError(
            f'frame: found an image of mode {frame.mode}, expected 8 bits per channel '
            'such as RGB or L; scale it first'
        )
    return np.asarray(frame.convert('RGB'))


def _from_tensor(frame: 'Tensor') -> np.ndarray:
    image = frame.detach().cpu()
    if image.ndim == 3 and image.shape[0] in (1, 3, 4):
        image = image.permute(1, 2, 0)
    if image.is_floating_point() and image.numel():
        low, high = (float(value) for value in image.aminmax())
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f'frame: found a tensor of {frame.dtype} from {low:g} to {high:g}, '
                'expected floats from 0 to 1, or uint8'
            )
        image = (image * 255).round().byte()
    return image.numpy()
