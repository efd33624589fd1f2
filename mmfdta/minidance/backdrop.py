# Copyright (c) mmfdta authors.
"""The empty stage: a textured wall and floor, larger than the image."""

from dataclasses import dataclass

import cv2
import numpy as np

from .camera import Z_WALL, Camera, encode_depth


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
            camera (Camera): The camera.
            frame (int): Index of the frame.

        Returns:
            tuple[np.ndarray, np.ndarray]: Image (H, W, 3) and depth map (H, W),
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
        rng (np.random.Generator): Source of randomness.
        camera (Camera): The camera that will look at it.

    Returns:
        Backdrop: The stage.
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
