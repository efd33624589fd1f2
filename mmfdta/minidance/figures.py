# Copyright (c) mmfdta authors.
"""Dancers: their clothes, their moves, and how they are drawn."""

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

Color = tuple[int, int, int]
"""Blue, green, red in 0..255."""

OVERSAMPLING = 3
_BITS = 4


@dataclass(frozen=True)
class Sprite:
    """A drawn shape at its place in the image, which it may leave."""

    left: int
    top: int
    color: np.ndarray
    """Colours times coverage, uint8 (h, w, 3), blue, green, red."""
    coverage: np.ndarray
    """uint8 (h, w), 255 = covered."""

    @property
    def silhouette(self) -> np.ndarray:
        """Pixels that are covered by at least one half, bool (h, w)."""
        return self.coverage >= 128

    def window(self, width: int, height: int) -> tuple[tuple, tuple]:
        """Find the part inside an image.

        Args:
            width: Width of the image.
            height: Height of the image.

        Returns:
            Slices (rows, columns) of the image, and of the sprite.
        """
        h, w = self.coverage.shape
        x0, x1 = np.clip([self.left, self.left + w], 0, width).tolist()
        y0, y1 = np.clip([self.top, self.top + h], 0, height).tolist()
        inside = slice(y0, y1), slice(x0, x1)
        own = (
            slice(y0 - self.top, y1 - self.top),
            slice(x0 - self.left, x1 - self.left),
        )
        return inside, own

    def paint_on(self, image: np.ndarray) -> None:
        """Lay the sprite on an image (H, W, 3) uint8, in place."""
        inside, own = self.window(image.shape[1], image.shape[0])
        below = image[inside].astype(np.uint16)
        rest = 255 - self.coverage[own].astype(np.uint16)[..., None]
        image[inside] = self.color[own] + ((below * rest + 127) // 255).astype(np.uint8)


class Pencil:
    """Draws shapes with soft edges: on an enlarged canvas, at image coordinates.

    Args:
        left: Column of the canvas' corner in the image.
        top: Row of the canvas' corner in the image.
        width: Width in image pixels.
        height: Height in image pixels.
    """

    def __init__(self, left: int, top: int, width: int, height: int) -> None:
        self.corner = np.array([left, top])
        shape = height * OVERSAMPLING, width * OVERSAMPLING
        self._color = np.zeros((*shape, 3), np.uint8)
        self._cover = np.zeros(shape, np.uint8)

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        """Image coordinates to the fixed-point ones of the canvas."""
        points = (np.asarray(points) - self.corner) * OVERSAMPLING - 0.5
        return np.rint(points * (1 << _BITS)).astype(np.int32)

    def polygon(self, points: np.ndarray, color: Color) -> None:
        """Fill a polygon (n, 2)."""
        corners = [self._fixed(points)]
        for canvas, paint in ((self._color, color), (self._cover, (255,))):
            cv2.fillPoly(canvas, corners, paint, cv2.LINE_8, _BITS)

    def ellipse(
        self, centre: np.ndarray, radii: tuple[float, float], color: Color
    ) -> None:
        """Fill an upright ellipse."""
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        ring = np.stack([np.cos(turn) * radii[0], np.sin(turn) * radii[1]], 1)
        self.polygon(np.asarray(centre) + ring, color)

    def stroke(
        self,
        start: np.ndarray,
        end: np.ndarray,
        widths: tuple[float, float],
        color: Color,
    ) -> None:
        """Draw a tapered line with round ends.

        Args:
            start: First point.
            end: Last point.
            widths: Widths at the ends, pixels.
            color: Its colour.
        """
        start, end = np.asarray(start), np.asarray(end)
        along = end - start
        across = np.array([-along[1], along[0]]) / max(np.hypot(*along), 1e-6) / 2
        a, b = across * widths[0], across * widths[1]
        self.polygon(np.stack([start + a, end + b, end - b, start - a]), color)
        self.ellipse(start, (widths[0] / 2,) * 2, color)
        self.ellipse(end, (widths[1] / 2,) * 2, color)

    def lift(self) -> Sprite:
        """Shrink the canvas to a sprite."""
        size = (
            self._cover.shape[1] // OVERSAMPLING,
            self._cover.shape[0] // OVERSAMPLING,
        )
        color = cv2.resize(self._color, size, interpolation=cv2.INTER_AREA)
        cover = cv2.resize(self._cover, size, interpolation=cv2.INTER_AREA)
        return Sprite(int(self.corner[0]), int(self.corner[1]), color, cover)


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
        rng: Source of randomness.
        count: Number of dancers.
        similarity: 1 = all equal, 0 = as different as they get.

    Returns:
        One per dancer.
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


# In body heights; HIP, SHOULDER and HEAD are heights above the floor.
UPPER_ARM, FOREARM, THIGH, SHIN = 0.17, 0.17, 0.25, 0.24
HIP, SHOULDER, HEAD = 0.49, 0.80, 0.92
HIP_WIDTH, SHOULDER_WIDTH = 0.055, 0.10
HEAD_RADIUS = 0.065


@dataclass(frozen=True)
class Pose:
    """Joints in units of the body height: x to the right, y upwards.

    The origin is on the floor below the body. Limbs are (2, 3, 2): left and
    right, from the body outwards, x and y.
    """

    arms: np.ndarray
    """Shoulder, elbow, hand."""
    legs: np.ndarray
    """Hip, knee, foot."""
    neck: np.ndarray
    head: np.ndarray


@dataclass(frozen=True)
class Dance:
    """How one dancer moves: a swing and a slower swing on it.

    All arrays are float. Angles are in radians; limbs hang down at 0 and open
    outwards.
    """

    rate: float
    """Swings per frame."""
    centre: np.ndarray
    """Mean angle (8,): upper arms, forearms, thighs, shins; left, right each."""
    swing: np.ndarray
    """Amplitudes (8,)."""
    phase: np.ndarray
    """Phases (8,)."""
    drift: np.ndarray
    """Phases of the slower swing (8,)."""
    lean: float
    """Amplitude of the body's lean, radians."""
    hop: float
    """Height of the hops, body heights."""

    def pose(self, frame: int) -> Pose:
        """Return the joints at a frame."""
        angle = 2 * np.pi * self.rate * frame
        slow = 0.6 + 0.4 * np.sin(0.37 * angle + self.drift)
        bend = self.centre + self.swing * slow * np.sin(angle + self.phase)
        lift = self.hop * abs(np.sin(angle / 2 + self.drift[0]))
        lean = self.lean * np.sin(angle / 2 + self.phase[0])
        side = np.array([-1.0, 1.0])
        hips = np.stack([side * HIP_WIDTH, np.full(2, HIP)], 1)
        up = np.array([np.sin(lean), np.cos(lean)])
        across = np.array([up[1], -up[0]])
        waist = np.array([0.0, HIP])
        chest = waist + up * (SHOULDER - HIP)
        shoulders = chest + side[:, None] * SHOULDER_WIDTH * across
        arms = _limb(shoulders, side, bend[0:2], bend[2:4], UPPER_ARM, FOREARM)
        legs = _limb(hips, side, bend[4:6], bend[6:8], THIGH, SHIN)
        # The lower foot stands on the floor unless the dancer hops.
        ground = np.array([0.0, legs[:, 2, 1].min() - 0.02 - lift])
        head = waist + up * (HEAD - HIP)
        return Pose(arms - ground, legs - ground, chest - ground, head - ground)


def _limb(
    root: np.ndarray,
    side: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    length: float,
    end_length: float,
) -> np.ndarray:
    """Joints (2, 3, 2) of both limbs; the second angle adds to the first."""
    middle = root + length * np.stack([side * np.sin(first), -np.cos(first)], 1)
    total = first + second
    end = middle + end_length * np.stack([side * np.sin(total), -np.cos(total)], 1)
    return np.stack([root, middle, end], 1)


def teach_dances(rng: np.random.Generator, count: int, speed: float) -> list[Dance]:
    """Teach the dancers of a sequence one dance; each one varies it.

    Args:
        rng: Source of randomness.
        count: Number of dancers.
        speed: Relative speed.

    Returns:
        One per dancer.
    """
    rate = rng.uniform(0.04, 0.08) * speed
    arm, fore = rng.uniform(0.5, 1.7), rng.uniform(0.2, 1.0)
    leg, shin = rng.uniform(0.12, 0.35), rng.uniform(-0.3, 0.0)
    centre = np.array([arm, arm, fore, fore, leg, leg, shin, shin])
    limits = np.array([1.0, 1.0, 0.8, 0.8, 0.3, 0.3, 0.35, 0.35])
    swing = rng.uniform(0.5, 1.0, 8) * limits
    phase = rng.uniform(0, 2 * np.pi, 8)
    lean, hop = rng.uniform(0.02, 0.2), rng.uniform(0.0, 0.10)
    return [
        Dance(
            rate=rate * rng.uniform(0.93, 1.07),
            centre=centre + rng.normal(0, 0.08, 8),
            swing=swing * rng.uniform(0.8, 1.2, 8),
            phase=phase + rng.normal(0, 0.7, 8),
            drift=rng.uniform(0, 2 * np.pi, 8),
            lean=lean,
            hop=hop,
        )
        for _ in range(count)
    ]


def _shade(color: Color, factor: float) -> Color:
    red, green, blue = (min(round(channel * factor), 255) for channel in color)
    return red, green, blue


def draw_figure(pose: Pose, look: Appearance, foot: np.ndarray, scale: float) -> Sprite:
    """Draw one dancer.

    Args:
        pose: Joints.
        look: Colours and build.
        foot: (2,) pixel on the floor below the body.
        scale: Pixels of a dancer of medium build.

    Returns:
        The dancer alone.
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
