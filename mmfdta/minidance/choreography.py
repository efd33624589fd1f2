# Copyright (c) mmfdta authors.
"""Who is where on the stage: crossings, feints, entries and exits.

The dance goes in beats. In a beat two neighbours either change places or meet
and turn back, one before the other; the others drift. Nobody moves at constant
speed, and seen from outside the two kinds of meeting begin alike, so that
extrapolating the motion does not tell who comes out on which side.
"""

from dataclasses import dataclass, field

import numpy as np

_OUTSIDE = 1.75
_EDGE = 0.8
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
    rng: np.random.Generator, count: int, frames: int, crossing: float, speed: float
) -> np.ndarray:
    """Plan the ways of the dancers of a sequence.

    Args:
        rng (np.random.Generator): Source of randomness.
        count (int): Number of dancers N.
        frames (int): Number of frames F.
        crossing (float): Probability that two neighbours meet in a beat.
        speed (float): Relative speed.

    Returns:
        np.ndarray: float (N, F, 2), stage positions x and depths z.
    """
    stage = _enter(rng, count)
    routes = [_Route() for _ in range(count)]
    for i, route in enumerate(routes):
        route.add(0, stage.x[i], stage.z[i])
    frame = 0.0
    while frame < frames:
        beat = rng.uniform(*_BEAT) / speed
        moved = _cross(rng, stage, routes, frame, beat, crossing)
        _drift(rng, stage, routes, frame, beat, moved)
        frame += beat
    return np.stack([route.sample(frames).T for route in routes])


def _enter(rng: np.random.Generator, count: int) -> _Stage:
    """Deal out places; some wait in the wings."""
    slots = np.linspace(-_EDGE, _EDGE, count) if count > 1 else np.zeros(1)
    x = rng.permutation(slots) + rng.normal(0, 0.05, count)
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
        middle_z = np.clip(stage.z[list(pair)].mean(), 1.15, 1.8)
        gap = rng.uniform(*_GAP) * rng.choice([-1, 1])
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
