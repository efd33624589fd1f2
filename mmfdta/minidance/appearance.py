# Copyright (c) mmfdta authors.
"""What the dancers of a sequence look like, and how alike they are."""

import colorsys
from dataclasses import dataclass

import numpy as np

Color = tuple[int, int, int]
"""Blue, green, red in 0..255."""


@dataclass(frozen=True)
class Appearance:
    """Colours and build of one dancer."""

    top: Color
    sleeve: Color
    sash: Color
    legs: Color
    shoes: Color
    skin: Color
    hair: Color
    long_hair: bool
    height: float
    """Relative to a dancer of medium build."""
    girth: float
    """Width of body and limbs, relative to a dancer of medium build."""


def _color(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(
        hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1)
    )
    return round(255 * blue), round(255 * green), round(255 * red)


def _spread(rng: np.random.Generator, count: int, reach: float) -> np.ndarray:
    """Deviations in -reach..reach, evenly spaced and dealt out at random."""
    steps = (rng.permutation(count) + 0.5) / count
    return (2 * steps - 1) * reach


def dress_cast(
    rng: np.random.Generator, count: int, similarity: float
) -> list[Appearance]:
    """Dress the dancers of a sequence in variations of one costume.

    Args:
        rng (np.random.Generator): Source of randomness.
        count (int): Number of dancers.
        similarity (float): 1 = all equal, 0 = as different as they get.

    Returns:
        list[Appearance]: One a dancer.
    """
    apart = 1 - similarity
    hue, legs_hue, sash_hue = rng.random(3)
    top_value, legs_value = rng.uniform(0.45, 0.85), rng.uniform(0.25, 0.75)
    saturation = rng.uniform(0.5, 0.85)
    skin_value, hair_value = rng.uniform(0.65, 0.9), rng.uniform(0.1, 0.35)
    long_hair = rng.random() < 0.5
    hues = _spread(rng, count, 0.5 * apart)
    top_values = _spread(rng, count, 0.45 * apart)
    legs_hues = _spread(rng, count, 0.5 * apart)
    legs_values = _spread(rng, count, 0.45 * apart)
    sash_hues = _spread(rng, count, 0.5 * apart)
    hair_values = _spread(rng, count, 0.5 * apart)
    skin_values = _spread(rng, count, 0.3 * apart)
    heights = _spread(rng, count, 0.2 * apart)
    girths = _spread(rng, count, 0.35 * apart)
    other_hair = rng.random(count) < 0.5 * apart
    return [
        Appearance(
            top=_color(hue + hues[i], saturation, top_value + top_values[i]),
            sleeve=_color(
                hue + hues[i], saturation * 0.8, (top_value + top_values[i]) * 0.8
            ),
            sash=_color(sash_hue + sash_hues[i], 0.8, 0.85),
            legs=_color(legs_hue + legs_hues[i], 0.35, legs_value + legs_values[i]),
            shoes=_color(legs_hue, 0.2, 0.2),
            skin=_color(0.07, 0.42, skin_value + skin_values[i]),
            hair=_color(0.08, 0.5, hair_value + hair_values[i]),
            long_hair=bool(long_hair ^ other_hair[i]),
            height=1 + heights[i],
            girth=1 + girths[i],
        )
        for i in range(count)
    ]
