# Copyright (c) mmfdta authors.
"""Distractors: balls, boxes and posts that hide dancers and are no dancers."""

from dataclasses import dataclass

import numpy as np

from .appearance import Color
from .camera import Camera
from .sprite import Pencil, Sprite

_KINDS = ('ball', 'box', 'post')


@dataclass(frozen=True)
class Prop:
    """One shape on the stage."""

    kind: str
    """``ball``, ``box`` or ``post``."""
    x: np.ndarray
    """Stage position in each frame (F,)."""
    z: float
    """Depth."""
    size: float
    """Width in heights of a dancer."""
    height: float
    """Height of the middle above the floor, in heights of a dancer."""
    color: Color

    def draw(self, camera: Camera, frame: int) -> Sprite:
        """Draw the shape as it is at a frame."""
        foot = camera.project(frame, self.x[frame], self.z)
        unit = camera.scale(self.z)
        half = 0.5 * self.size * unit
        tall = self.height * unit
        centre = foot - [0, tall]
        if self.kind == 'ball':
            extent = np.array([half, half])
        else:
            extent = np.array([half, tall])
        corner = np.floor(centre - extent).astype(int) - 1
        width, height = (np.ceil(2 * extent).astype(int) + 3).tolist()
        pencil = Pencil(int(corner[0]), int(corner[1]), width, height)
        if self.kind == 'ball':
            pencil.ellipse(centre, (half, half), self.color)
            red, green, blue = (min(channel + 60, 255) for channel in self.color)
            radii = 0.35 * half, 0.35 * half
            pencil.ellipse(centre - 0.3 * half, radii, (red, green, blue))
        else:
            signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
            pencil.polygon(centre + signs * extent, self.color)
            red, green, blue = (round(0.7 * channel) for channel in self.color)
            signs = np.array([[0.3, -1], [1, -1], [1, 1], [0.3, 1]])
            pencil.polygon(centre + signs * extent, (red, green, blue))
        return pencil.lift()


def place_props(rng: np.random.Generator, most: int, frames: int) -> list[Prop]:
    """Choose the distractors of a sequence.

    Args:
        rng (np.random.Generator): Source of randomness.
        most (int): Most shapes there are.
        frames (int): Number of frames.

    Returns:
        list[Prop]: The shapes.
    """
    return [_make_prop(rng, frames) for _ in range(rng.integers(0, most + 1))]


def _make_prop(rng: np.random.Generator, frames: int) -> Prop:
    kind = _KINDS[rng.integers(len(_KINDS))]
    red, green, blue = rng.integers(30, 220, 3).tolist()
    x = np.full(frames, rng.uniform(-1, 1))
    if kind == 'ball':  # balls roll or fly, the others stand
        size, height = rng.uniform(0.12, 0.28), rng.uniform(0.1, 0.9)
        turn = 2 * np.pi * np.arange(frames) * rng.uniform(0.004, 0.012)
        x = x + rng.uniform(0.2, 0.8) * np.sin(turn + rng.uniform(0, 2 * np.pi))
    elif kind == 'box':
        size, height = rng.uniform(0.15, 0.35), rng.uniform(0.06, 0.2)
    else:
        size, height = rng.uniform(0.03, 0.07), rng.uniform(0.35, 0.6)
    return Prop(kind, x, rng.uniform(0.95, 2.3), size, height, (red, green, blue))
