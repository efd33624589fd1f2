# Copyright (c) mmfdta authors.
"""The stage: camera, backdrop and props, and who goes where on it.

Stage coordinates: x to the right, 0 in the middle; z away from the camera,
1 at the front edge of the dance floor and 2 at its back. Heights are in units
of a dancer of medium build.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from .figures import Color, Pencil, Sprite

Z_NEAR = 0.9
"""Depth of the nearest thing there is; 255 in a depth map."""
Z_WALL = 3.0
"""Depth of the back wall."""

# Shares of the image height: the horizon, how far below it the floor is at depth 1,
# and a dancer there. The last one is the share of the image width of one unit there.
_HORIZON = 0.30
_DROP = 0.62
_DANCER = 0.55
_SPREAD = 0.7


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without rotation.

    Attributes:
        width: Image width, pixels.
        height: Image height, pixels.
        shake: Offset of each frame in pixels, float (F, 2).
    """

    width: int
    height: int
    shake: np.ndarray

    def scale(self, z: float) -> float:
        """Pixels of one unit of height at depth z."""
        return self.height * _DANCER / z

    def project(self, frame: int, x: float, z: float) -> np.ndarray:
        """Image position of a point on the floor.

        Args:
            frame: Index of the frame.
            x: Stage position.
            z: Depth.

        Returns:
            (2,) x and y in pixels.
        """
        point = [
            self.width * (0.5 + _SPREAD * x / z),
            self.height * (_HORIZON + _DROP / z),
        ]
        return np.array(point) + self.shake[frame]

    def floor_depth(self, rows: np.ndarray) -> np.ndarray:
        """Depth seen at image rows of an empty stage, without shake.

        Args:
            rows: Row positions in pixels.

        Returns:
            Depths, at most that of the wall.
        """
        below = np.maximum(rows / self.height - _HORIZON, _DROP / Z_WALL)
        return _DROP / below


def encode_depth(z: np.ndarray) -> np.ndarray:
    """Turn depths into the 8 bits of a depth map, near = bright.

    Args:
        z: Depths of at least :data:`Z_NEAR`.

    Returns:
        uint8, inverse depth.
    """
    return np.rint(255 * Z_NEAR / np.maximum(z, Z_NEAR)).astype(np.uint8)


def hold_camera(
    rng: np.random.Generator, width: int, height: int, frames: int, shake: float
) -> Camera:
    """Make the camera of a sequence: a hand that sways slowly and jerks.

    Args:
        rng: Source of randomness.
        width: Image width, pixels.
        height: Image height, pixels.
        frames: Number of frames.
        shake: Standard deviation of the offset, percent of the width.

    Returns:
        The camera.
    """
    noise = rng.standard_normal((frames + 8, 2))
    jerk = noise[8:]
    sway = np.stack(
        [np.convolve(noise[:, i], np.hanning(11)[1:-1], 'valid') for i in (0, 1)], 1
    )
    sway /= np.sqrt((np.hanning(11) ** 2).sum())
    offset = (0.9 * sway + 0.25 * jerk) * shake / 100 * width
    return Camera(width, height, np.clip(offset, -0.1 * width, 0.1 * width))


@dataclass(frozen=True)
class Backdrop:
    """The stage with a margin on all sides, for the camera to shake in."""

    image: np.ndarray
    """uint8 (H + 2 m, W + 2 m, 3)."""
    depth: np.ndarray
    """uint8 (H + 2 m, W + 2 m), as :func:`encode_depth` makes it."""
    margin: int
    """m, pixels."""

    def view(self, camera: Camera, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what the camera sees at a frame.

        Args:
            camera: The camera.
            frame: Index of the frame.

        Returns:
            Image (H, W, 3) and depth map (H, W),
            both uint8 and free to be drawn on.
        """
        dx, dy = camera.shake[frame] - self.margin
        shift = np.array([[1, 0, dx], [0, 1, dy]])
        size = camera.width, camera.height
        return (
            cv2.warpAffine(self.image, shift, size, flags=cv2.INTER_LINEAR),
            cv2.warpAffine(self.depth, shift, size, flags=cv2.INTER_NEAREST),
        )


def _texture(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Noise of several octaves, float (height, width), mean 0, about -1..1."""
    total = np.zeros((height, width), np.float32)
    for cells, weight in ((4, 0.5), (11, 0.3), (29, 0.2), (67, 0.12)):
        noise = rng.uniform(-1, 1, (cells, cells * 2)).astype(np.float32)
        total += weight * cv2.resize(
            noise, (width, height), interpolation=cv2.INTER_CUBIC
        )
    return total


def _tint(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """A muted colour, float (3,) in 0..255."""
    return 255 * (rng.uniform(low, high) + rng.uniform(-0.08, 0.08, 3))


def _wall(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Wall with panels, float (height, width, 3)."""
    wall = np.empty((height, width, 3), np.float32)
    wall[:] = _tint(rng, 0.25, 0.7)
    columns = np.arange(width)
    panel = width / rng.integers(5, 14)
    seam = (columns + rng.uniform(0, panel)) % panel
    fold = np.sin(2 * np.pi * seam / panel) * rng.uniform(0, 22)
    wall += fold[None, :, None].astype(np.float32)
    wall[:, seam < max(width / 160, 1)] *= 0.7
    for _ in range(rng.integers(0, 4)):  # posters
        x, y = rng.uniform(0, width), rng.uniform(0, 0.6 * height)
        w, h = rng.uniform(0.05, 0.14) * width, rng.uniform(0.15, 0.5) * height
        rows, cols = slice(int(y), int(y + h)), slice(int(x), int(x + w))
        wall[rows, cols] = 0.5 * wall[rows, cols] + 0.5 * _tint(rng, 0.2, 0.8)
    return wall


def _floor(rng: np.random.Generator, across: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Floor with tiles in perspective, float (height, width, 3)."""
    floor = np.empty((*across.shape, 3), np.float32)
    floor[:] = _tint(rng, 0.3, 0.65)
    tile = rng.uniform(0.12, 0.3)
    checks = (np.floor(across / tile) + np.floor(z / tile)) % 2
    floor += (checks * rng.uniform(0, 28))[..., None].astype(np.float32)
    return floor


def build_backdrop(rng: np.random.Generator, camera: Camera) -> Backdrop:
    """Paint the stage of a sequence.

    Args:
        rng: Source of randomness.
        camera: The camera that will look at it.

    Returns:
        The stage.
    """
    margin = int(np.ceil(np.abs(camera.shake).max())) + 2
    width, height = camera.width + 2 * margin, camera.height + 2 * margin
    rows = np.arange(height) - margin
    z = camera.floor_depth(rows)
    foot = int(np.argmax(z < Z_WALL - 1e-9))
    image = np.empty((height, width, 3), np.float32)
    image[:foot] = _wall(rng, width, foot)
    columns = (np.arange(width) - margin) / camera.width - 0.5
    depth = np.repeat(z[foot:, None], width, 1)
    image[foot:] = _floor(rng, columns * depth, depth)
    image += 22 * _texture(rng, width, height)[..., None]
    light = 1 - rng.uniform(0.0, 0.35) * np.abs(columns - rng.uniform(-0.4, 0.4))
    image *= light[None, :, None].astype(np.float32)
    image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return Backdrop(image, np.repeat(encode_depth(z)[:, None], width, 1), margin)


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
        rng: Source of randomness.
        most: Most shapes there are.
        frames: Number of frames.

    Returns:
        The shapes.
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


def place_screens(rng: np.random.Generator, count: int, frames: int) -> list[Prop]:
    """Stand screens at the front of the stage, taller than the dancers behind.

    Args:
        rng: Source of randomness.
        count: Number of screens.
        frames: Number of frames.

    Returns:
        The screens.
    """
    screens = []
    for place in np.linspace(-0.45, 0.45, count) if count > 1 else np.zeros(count):
        red, green, blue = rng.integers(30, 220, 3).tolist()
        x = np.full(frames, place + rng.uniform(-0.1, 0.1))
        size = rng.uniform(0.35, 0.55)
        screens.append(Prop('box', x, 0.95, size, 0.6, (red, green, blue)))
    return screens


# Stage positions in the wings and where the dance floor ends.
_OUTSIDE = 1.75
_EDGE = 0.8
# Frames of a beat at speed 1, and the difference in depth of two that meet.
_BEAT = (9, 15)
_GAP = (0.10, 0.22)


@dataclass
class _Route:
    """Waypoints of one dancer, passed with a stop or a turn at each."""

    frame: list[float] = field(default_factory=list)
    x: list[float] = field(default_factory=list)
    z: list[float] = field(default_factory=list)

    def add(self, frame: float, x: float, z: float) -> None:
        self.frame.append(frame)
        self.x.append(x)
        self.z.append(z)

    def sample(self, frames: int) -> np.ndarray:
        """Positions (2, F), eased between the waypoints."""
        time = np.arange(frames)
        at = np.array(self.frame)
        i = np.clip(np.searchsorted(at, time, 'right') - 1, 0, len(at) - 2)
        part = np.clip((time - at[i]) / (at[i + 1] - at[i]), 0, 1)
        part = (1 - np.cos(np.pi * part)) / 2
        return np.stack(
            [
                (1 - part) * np.array(line)[i] + part * np.array(line)[i + 1]
                for line in (self.x, self.z)
            ]
        )


@dataclass
class _Stage:
    """Where everybody is at the beginning of a beat."""

    x: np.ndarray
    z: np.ndarray
    present: np.ndarray
    """bool (N,): on the stage, not in the wings."""


def choreograph(
    rng: np.random.Generator,
    count: int,
    frames: int,
    crossing: float,
    speed: float,
    gap: float = 1.0,
) -> np.ndarray:
    """Plan the ways of the dancers of a sequence: crossings, feints, entries, exits.

    The dance goes in beats. In a beat two neighbours either change places or meet
    and turn back, one before the other; the others drift. Nobody moves at constant
    speed, and seen from outside the two kinds of meeting begin alike, so that
    extrapolating the motion does not tell who comes out on which side.

    Args:
        rng: Source of randomness.
        count: Number of dancers N.
        frames: Number of frames F.
        crossing: Probability that two neighbours meet in a beat.
        speed: Relative speed.
        gap: Depth between two who meet, relative to the usual one.

    Returns:
        float (N, F, 2), stage positions x and depths z.
    """
    stage = _enter(rng, count)
    routes = [_Route() for _ in range(count)]
    for i, route in enumerate(routes):
        route.add(0, stage.x[i], stage.z[i])
    frame = 0.0
    while frame < frames:
        beat = rng.uniform(*_BEAT) / speed
        moved = _cross(rng, stage, routes, frame, beat, crossing, gap)
        _drift(rng, stage, routes, frame, beat, moved)
        frame += beat
    return np.stack([route.sample(frames).T for route in routes])


def _enter(rng: np.random.Generator, count: int) -> _Stage:
    """Deal out places; some wait in the wings."""
    places = np.linspace(-_EDGE, _EDGE, count) if count > 1 else np.zeros(1)
    x = rng.permutation(places) + rng.normal(0, 0.05, count)
    z = rng.uniform(1.05, 1.9, count)
    present = rng.random(count) >= 0.2
    present[rng.integers(count)] = True
    x[~present] = np.sign(x[~present] + 1e-3) * _OUTSIDE
    return _Stage(x, z, present)


def _cross(
    rng: np.random.Generator,
    stage: _Stage,
    routes: list[_Route],
    frame: float,
    beat: float,
    crossing: float,
    relative_gap: float,
) -> set[int]:
    """Let pairs of neighbours change places or meet and turn back."""
    line = [i for i in np.argsort(stage.x) if stage.present[i]]
    moved: set[int] = set()
    for pair in zip(line[:-1], line[1:], strict=True):
        if moved & set(pair) or rng.random() >= crossing:
            continue
        moved |= set(pair)
        swap = rng.random() < 0.5
        middle_x = stage.x[list(pair)].mean()
        middle_z = stage.z[list(pair)].mean()
        gap = rng.uniform(*_GAP) * relative_gap * rng.choice([-1, 1])
        # Both stay on the dance floor.
        half = abs(gap) / 2
        middle_z = np.clip(middle_z, max(1.15, 1.02 + half), min(1.8, 1.95 - half))
        for i, other, sign in ((*pair, 1), (*pair[::-1], -1)):
            target = stage.x[other] if swap else stage.x[i] + rng.normal(0, 0.04)
            near = middle_x + sign * rng.uniform(-0.06, 0.02)
            z = middle_z + sign * gap / 2
            routes[i].add(frame + beat * rng.uniform(0.45, 0.55), near, z)
            routes[i].add(frame + beat, target, z + rng.normal(0, 0.02))
        ends = [(routes[i].x[-1], routes[i].z[-1]) for i in pair]
        for i, (x, z) in zip(pair, ends, strict=True):
            stage.x[i], stage.z[i] = x, z
    return moved


def _drift(
    rng: np.random.Generator,
    stage: _Stage,
    routes: list[_Route],
    frame: float,
    beat: float,
    moved: set[int],
) -> None:
    """Move the others a little, onto the stage or off it."""
    for i, route in enumerate(routes):
        if i in moved:
            continue
        chance = rng.random()
        if not stage.present[i] and chance < 0.5:
            stage.present[i] = True
            stage.x[i] = np.sign(stage.x[i]) * rng.uniform(0.4, _EDGE)
        elif stage.present[i] and chance < 0.08 and stage.present.sum() > 2:
            stage.present[i] = False
            stage.x[i] = np.sign(stage.x[i] + 1e-3) * _OUTSIDE
        elif stage.present[i]:
            stage.x[i] = np.clip(stage.x[i] + rng.normal(0, 0.08), -0.95, 0.95)
            stage.z[i] = np.clip(stage.z[i] + rng.normal(0, 0.12), 1.02, 1.95)
        route.add(frame + beat, stage.x[i], stage.z[i])
