# Copyright (c) mmfdta authors.
"""One colour for each identity, the same in every frame, video and run."""

import functools
import math

import numpy as np

Color = tuple[int, int, int]  # red, green, blue, 0 to 255

_GOLDEN = (5**0.5 - 1) / 2
# Lightness and chroma in OKLCH; three rings keep near hues apart.
_RINGS = ((0.74, 0.17), (0.60, 0.19), (0.85, 0.14))
# OKLab to the cube roots of cone responses, and those to linear sRGB (Ottosson).
_TO_CONES = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_TO_LINEAR = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


@functools.lru_cache(maxsize=4096)
def identity_color(identity: int) -> Color:
    """Choose the colour of an identity.

    Hues advance by the golden ratio, so that identities with near numbers,
    which are those seen together, get far colours.
    """
    hue = 2 * math.pi * ((identity * _GOLDEN) % 1.0)
    lightness, chroma = _RINGS[identity % len(_RINGS)]
    while True:
        lab = np.array([lightness, chroma * math.cos(hue), chroma * math.sin(hue)])
        linear = _TO_LINEAR @ (_TO_CONES @ lab) ** 3
        if (linear >= 0).all() and (linear <= 1).all():
            break
        chroma *= 0.95  # not every hue reaches the same chroma on a screen
    gamma = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    red, green, blue = (int(round(255 * float(value))) for value in gamma)
    return red, green, blue


def text_color(background: Color) -> Color:
    """Choose black or white, whichever reads better on a background."""
    red, green, blue = ((value / 255) ** 2.2 for value in background)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    # Above it black has the higher contrast ratio (WCAG 2).
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)
