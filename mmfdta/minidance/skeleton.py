# Copyright (c) mmfdta authors.
"""A dancing skeleton: joints that swing around their parents."""

from dataclasses import dataclass

import numpy as np

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
    """How one dancer moves his joints: a swing and a slower swing on it.

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
    """Teach the dancers of a sequence one dance; each dances it his own way.

    Args:
        rng (np.random.Generator): Source of randomness.
        count (int): Number of dancers.
        speed (float): Relative speed.

    Returns:
        list[Dance]: One a dancer.
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
