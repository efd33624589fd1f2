# Copyright (c) mmfdta authors.
"""Draw the pictures of docs/minidance.md, or the README's from the demo's video.

python docs/assets/minidance.py
python docs/assets/minidance.py work_dirs/demo/fdta_vs_bytetrack.mp4 17 55
"""

import sys
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
VIDEO_WIDTH = 1000
JPEG_QUALITY = 82


def draw_boxes(frame: Frame) -> np.ndarray:
    """Draw the annotations of a frame, one colour per identity."""
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


def draw_examples() -> None:
    """Draw frames, ground truth and similarities of the data set."""
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


def draw_video(video: str, numbers: list[int]) -> None:
    """Put frames of a video below each other.

    Args:
        video: Path of the video.
        numbers: Frames to show, from 1.
    """
    capture = cv2.VideoCapture(video)
    rows = []
    for number in range(1, max(numbers) + 1):
        read, frame = capture.read()
        if not read:
            raise SystemExit(f'{video}: has no frame {number}')
        if number in numbers:
            height = round(frame.shape[0] * VIDEO_WIDTH / frame.shape[1])
            frame = cv2.resize(
                frame, (VIDEO_WIDTH, height), interpolation=cv2.INTER_AREA
            )
            rows.append(np.pad(frame, ((0, 4), (0, 0), (0, 0)), constant_values=255))
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    cv2.imwrite(str(HERE / 'demo.jpg'), np.vstack(rows)[:-4], quality)


if __name__ == '__main__':
    if len(sys.argv) > 1:
        draw_video(sys.argv[1], [int(number) for number in sys.argv[2:]])
    else:
        draw_examples()
