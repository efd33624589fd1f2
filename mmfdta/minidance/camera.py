# Copyright (c) mmfdta authors.
"""The camera: where a point of the stage is in the image, and how it shakes.

Stage coordinates: x to the right, 0 in the middle; z away from the camera,
1 at the front edge of the dance floor and 2 at its back. Heights are in units
of a dancer of medium build.
"""

from dataclasses import dataclass

import numpy as np

Z_NEAR = 0.9
"""Depth of the nearest thing there is; 255 in a depth map."""
Z_WALL = 3.0
"""Depth of the back wall."""

_HORIZON = 0.30
_DROP = 0.62
_DANCER = 0.55
_SPREAD = 0.7


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without rotation.

    Args:
        width (int): Image width, pixels.
        height (int): Image height, pixels.
        shake (np.ndarray): Offset of each frame in pixels, float (F, 2).
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
            frame (int): Index of the frame.
            x (float): Stage position.
            z (float): Depth.

        Returns:
            np.ndarray: (2,) x and y in pixels.
        """
        point = [
            self.width * (0.5 + _SPREAD * x / z),
            self.height * (_HORIZON + _DROP / z),
        ]
        return np.array(point) + self.shake[frame]

    def floor_depth(self, rows: np.ndarray) -> np.ndarray:
        """Depth seen at image rows of an empty stage, without shake.

        Args:
            rows (np.ndarray): Row positions in pixels.

        Returns:
            np.ndarray: Depths, at most that of the wall.
        """
        below = np.maximum(rows / self.height - _HORIZON, _DROP / Z_WALL)
        return _DROP / below


def encode_depth(z: np.ndarray) -> np.ndarray:
    """Turn depths into the 8 bits of a depth map, near = bright.

    Args:
        z (np.ndarray): Depths of at least :data:`Z_NEAR`.

    Returns:
        np.ndarray: uint8, inverse depth.
    """
    return np.rint(255 * Z_NEAR / np.maximum(z, Z_NEAR)).astype(np.uint8)


def hold_camera(
    rng: np.random.Generator, width: int, height: int, frames: int, shake: float
) -> Camera:
    """Make the camera of a sequence: a hand that sways slowly and jerks.

    Args:
        rng (np.random.Generator): Source of randomness.
        width (int): Image width, pixels.
        height (int): Image height, pixels.
        frames (int): Number of frames.
        shake (float): Standard deviation of the offset, percent of the width.

    Returns:
        Camera: The camera.
    """
    noise = rng.standard_normal((frames + 8, 2))
    jerk = noise[8:]
    sway = np.stack(
        [np.convolve(noise[:, i], np.hanning(11)[1:-1], 'valid') for i in (0, 1)], 1
    )
    sway /= np.sqrt((np.hanning(11) ** 2).sum())
    offset = (0.9 * sway + 0.25 * jerk) * shake / 100 * width
    return Camera(width, height, np.clip(offset, -0.1 * width, 0.1 * width))
