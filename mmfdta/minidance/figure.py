# Copyright (c) mmfdta authors.
"""Draw a dancer: a skeleton in clothes."""

import numpy as np

from .appearance import Appearance, Color
from .skeleton import HEAD_RADIUS, Pose
from .sprite import Pencil, Sprite


def _shade(color: Color, factor: float) -> Color:
    red, green, blue = (min(round(channel * factor), 255) for channel in color)
    return red, green, blue


def draw_figure(pose: Pose, look: Appearance, foot: np.ndarray, scale: float) -> Sprite:
    """Draw one dancer.

    Args:
        pose (Pose): Joints.
        look (Appearance): Colours and build.
        foot (np.ndarray): (2,) pixel on the floor below the body.
        scale (float): Pixels of a dancer of medium build.

    Returns:
        Sprite: The dancer alone.
    """
    size = scale * look.height
    width = size * look.girth

    def at(joint: np.ndarray) -> np.ndarray:
        return foot + size * joint * [1, -1]

    reach_x, above, below = 0.62 * size, 1.25 * size, 0.12 * size
    left, top = int(np.floor(foot[0] - reach_x)), int(np.floor(foot[1] - above))
    pencil = Pencil(left, top, int(2 * reach_x) + 2, int(above + below) + 2)
    arms, legs = at(pose.arms), at(pose.legs)
    neck, head = at(pose.neck), at(pose.head)
    if look.long_hair:
        pencil.stroke(
            head, neck + 0.45 * (neck - head), (0.15 * size, 0.11 * size), look.hair
        )
    for side, light in ((0, 0.85), (1, 1.0)):
        hip, knee, toe = legs[side]
        color = _shade(look.legs, light)
        pencil.stroke(knee, toe, (0.075 * width, 0.055 * width), color)
        pencil.stroke(hip, knee, (0.11 * width, 0.08 * width), color)
        pencil.stroke(
            toe,
            toe + size * np.array([0.05 * (2 * side - 1), 0.0]),
            (0.06 * width, 0.05 * width),
            look.shoes,
        )
    _draw_body(pencil, arms[:, 0], legs[:, 0], width, look)
    pencil.stroke(neck, head, (0.06 * width, 0.06 * width), _shade(look.skin, 0.85))
    for side, light in ((0, 0.85), (1, 1.0)):
        shoulder, elbow, hand = arms[side]
        skin, cloth = _shade(look.skin, light), _shade(look.sleeve, light)
        pencil.stroke(elbow, hand, (0.055 * width, 0.045 * width), skin)
        pencil.stroke(shoulder, elbow, (0.075 * width, 0.065 * width), cloth)
    radius = HEAD_RADIUS * size
    pencil.ellipse(head - [0, 0.25 * radius], (1.05 * radius, 1.1 * radius), look.hair)
    pencil.ellipse(head + [0, 0.15 * radius], (0.8 * radius, 0.9 * radius), look.skin)
    return pencil.lift()


def _draw_body(
    pencil: Pencil,
    shoulders: np.ndarray,
    hips: np.ndarray,
    width: float,
    look: Appearance,
) -> None:
    """Torso with a lit half, and the sash over it."""
    pad = np.array([[-0.03 * width, 0.0], [0.03 * width, 0.0]])
    upper, lower = shoulders + 0.5 * pad, hips + 1.2 * pad
    chest, waist = upper.mean(0), lower.mean(0)
    pencil.polygon(np.stack([upper[0], upper[1], lower[1], lower[0]]), look.top)
    pencil.polygon(np.stack([upper[0], chest, waist, lower[0]]), _shade(look.top, 0.82))
    start = upper[0] + 0.1 * (lower[0] - upper[0])
    end = lower[1] + 0.1 * (upper[1] - lower[1])
    pencil.stroke(start, end, (0.05 * width, 0.05 * width), look.sash)
