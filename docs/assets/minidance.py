# Copyright (c) mmfdta authors.
"""Draw the pictures of docs/minidance.md.

python docs/assets/minidance.py
"""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmfdta.minidance import Frame, MiniDanceOptions, build_scene

HERE = Path(__file__).parent
OPTIONS = MiniDanceOptions()
PALETTE = [(66, 66, 245), (80, 200, 60), (250, 140, 40), (40, 220, 245)]
PALETTE += [(230, 80, 230), (230, 220, 60), (250, 250, 250), (20, 20, 20)]
COLORS = 250
GAP = 3


def draw_boxes(frame: Frame) -> np.ndarray:
    """Draw the annotations of a frame, one colour an identity."""
    image = soften(frame.image)
    for identity, (x, y, w, h) in zip(frame.identities, frame.boxes, strict=True):
        color = PALETTE[identity % len(PALETTE)]
        cv2.rectangle(image, (x, y), (x + w - 1, y + h - 1), color, 1)
    return image


def soften(image: np.ndarray) -> np.ndarray:
    """Take out the sensor noise, which PNG cannot compress."""
    return cv2.bilateralFilter(image, 5, 14, 3)


def save_grid(name: str, rows: list[list[np.ndarray]]) -> None:
    """Save pictures as one PNG with few colours."""
    edge = ((0, GAP), (0, GAP), (0, 0))
    rows = [np.hstack([np.pad(p, edge, constant_values=255) for p in r]) for r in rows]
    grid = np.vstack(rows)[:-GAP, :-GAP, ::-1]
    picture = Image.fromarray(np.ascontiguousarray(grid))
    picture = picture.quantize(
        COLORS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    )
    picture.save(HERE / name, optimize=True)


def main() -> None:
    """Draw all pictures."""
    scenes = [build_scene(OPTIONS, 'train', number) for number in (1, 3)]
    save_grid(
        'minidance_frames.png',
        [[draw_boxes(s.render(f)) for f in (18, 21, 24, 27)] for s in scenes],
    )
    frame = build_scene(OPTIONS, 'train', 0).render(16)
    depth = cv2.cvtColor(frame.depth, cv2.COLOR_GRAY2BGR)
    owner = np.array([(0, 0, 0), *PALETTE], np.uint8)[frame.owner + 1]
    save_grid('minidance_truth.png', [[draw_boxes(frame), depth, owner]])
    likeness = [
        build_scene(replace(OPTIONS, similarity=s), 'train', 4).render(0)
        for s in (0.0, OPTIONS.similarity, 0.7, 1.0)
    ]
    likeness = [soften(frame.image) for frame in likeness]
    save_grid('minidance_similarity.png', [likeness])


if __name__ == '__main__':
    main()
