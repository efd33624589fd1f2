# Copyright (c) mmfdta authors.
"""Colour jitter of a clip: one draw for all frames, images only."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from PIL import Image

_ADJUSTMENTS = ('brightness', 'contrast', 'saturation', 'hue')
_LUMA = (0.299, 0.587, 0.114)


@TRANSFORMS.register_module()
class ClipColorJitter(BaseTransform):
    """Change brightness, contrast, saturation and hue in random order.

    Factors are uniform in [max(0, 1 - a), 1 + a] for the first three and the
    hue shift is uniform in [-hue, hue] turns; the four come in random order.
    All frames share the draw; the grey that contrast blends with is each
    frame's own mean. The arithmetic is PIL's, on uint8 after every step.

    Args:
        brightness: Amplitude a.
        contrast: Amplitude a.
        saturation: Amplitude a.
        hue: At most 0.5.
        exact: Convert colours with PIL, to the bit; otherwise with
            OpenCV, which rounds differently in places (on average 0.1 grey
            levels on photographs, 1 on saturated colours).
    """

    def __init__(
        self,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.2,
        exact: bool = False,
    ) -> None:
        amplitudes = (brightness, contrast, saturation)
        if min(amplitudes) < 0 or not 0 <= hue <= 0.5:
            raise ValueError(
                f'ClipColorJitter{(*amplitudes, hue)}: expected amplitudes >= 0 '
                'and 0 <= hue <= 0.5'
            )
        self.amplitudes = amplitudes
        self.hue = hue
        self.exact = exact

    def draw(self, rng: np.random.Generator) -> list[tuple[str, float]]:
        """Draw names and factors of the adjustments, in order of application."""
        factors = [rng.uniform(max(0, 1 - a), 1 + a) for a in self.amplitudes]
        factors.append(rng.uniform(-self.hue, self.hue))
        used = [a > 0 for a in (*self.amplitudes, self.hue)]
        return [(_ADJUSTMENTS[i], factors[i]) for i in rng.permutation(4) if used[i]]

    def transform(self, results: dict) -> dict:
        """Jitter ``imgs``, uint8 (T, H, W, 3) RGB, in place."""
        steps = self.draw(results['rng'])
        scratch = np.empty_like(results['imgs'][0])  # fresh memory is slow
        for frame in results['imgs']:
            for name, factor in steps:
                if self.exact:
                    adjust_exact(frame, name, factor)
                else:
                    adjust_fast(frame, name, factor, scratch)
        return results


def adjust_exact(frame: np.ndarray, name: str, factor: float) -> None:
    """Adjust a frame in place with PIL's arithmetic and colour conversions.

    Args:
        frame: uint8 (H, W, 3) RGB.
        name: ``brightness``, ``contrast``, ``saturation`` or ``hue``.
        factor: Blend factor, or turns of hue.
    """
    image = Image.fromarray(frame)
    if name == 'brightness':
        frame[:] = blend_table(0, factor)[frame]
    elif name == 'contrast':
        mean = int(np.asarray(image.convert('L')).mean() + 0.5)
        frame[:] = blend_table(mean, factor)[frame]
    elif name == 'saturation':
        grey = image.convert('L').convert('RGB')
        frame[:] = np.asarray(Image.blend(grey, image, factor))
    else:
        hsv = np.array(image.convert('HSV'))
        hsv[..., 0] += hue_shift(factor)
        frame[:] = np.asarray(Image.fromarray(hsv, 'HSV').convert('RGB'))


def adjust_fast(
    frame: np.ndarray, name: str, factor: float, scratch: np.ndarray
) -> None:
    """Adjust a frame in place with OpenCV.

    Args:
        frame: uint8 (H, W, 3) RGB, contiguous.
        name: ``brightness``, ``contrast``, ``saturation`` or ``hue``.
        factor: Blend factor, or turns of hue.
        scratch: uint8 (H, W, 3), memory for an intermediate image.
    """
    # PIL cuts fractions off where OpenCV rounds: hence the halves.
    if name == 'brightness':
        cv2.addWeighted(frame, factor, frame, 0, -0.5, dst=frame)
    elif name == 'contrast':
        mean = int(np.dot(_LUMA, cv2.mean(frame)[:3]) + 0.5)
        cv2.addWeighted(frame, factor, frame, 0, (1 - factor) * mean - 0.5, dst=frame)
    elif name == 'saturation':
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB, dst=scratch)
        cv2.addWeighted(frame, factor, scratch, 1 - factor, -0.5, dst=frame)
    else:
        cv2.cvtColor(frame, cv2.COLOR_RGB2HSV_FULL, dst=scratch)
        shift = np.zeros((frame.shape[1], 3), dtype=np.uint8)
        shift[:, 0] = hue_shift(factor)
        np.add(scratch, shift, out=scratch)  # a whole row is faster than one channel
        cv2.cvtColor(scratch, cv2.COLOR_HSV2RGB_FULL, dst=frame)


def blend_table(grey: int, factor: float) -> np.ndarray:
    """Tabulate PIL's blend of every value with one grey; uint8 (256,).

    Args:
        grey: The other image's value.
        factor: 0 gives the grey, 1 the value.
    """
    values = np.arange(256, dtype=np.float32)
    alpha, centre = np.float32(factor), np.float32(grey)
    return np.clip(centre + alpha * (values - centre), 0, 255).astype(np.uint8)


def hue_shift(turns: float) -> np.uint8:
    """Turn a hue shift in [-0.5, 0.5] into steps of 8-bit hue, modulo 256."""
    return np.uint8(int(turns * 255) % 256)
