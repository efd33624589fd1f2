# Copyright (c) mmfdta authors.
"""Draw tracks of `mmfdta benchmark` side by side on frames of PETS09-S2L1.

The footage is PETS 2009, S2.L1, View 001, copyright University of Reading; pictures of
it name that source.

mmfdta benchmark benchmarks/pets_trained
python docs/assets/pets.py work_dirs/benchmark_test docs/assets/pets_tracks.jpg \
    --runs fdta bytetrack --frames 480 500
mmfdta benchmark benchmarks/pets_boxes
python docs/assets/pets.py work_dirs/benchmark_test docs/assets/pets_tracks.webp \
    --runs boxes bytetrack --frames 501-560 --width 400
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from people import save_picture
from PIL import Image

from mmfdta.datasets.pets import NUM_FRAMES, SEQUENCE
from mmfdta.structures.frames import half_length
from mmfdta.structures.mot_text import read_tracks
from mmfdta.visualization.drawing import TrackDrawer, TrackStyle, draw_caption

# The second half begins behind these frames; its tracks count from 1.
BEFORE = half_length(NUM_FRAMES)
TRAIL = 20
# Of a moving picture; the footage was taken at 7 frames per second.
FRAMES_PER_SECOND = 10


def main() -> None:
    """Write one picture: a column for each tracker; frames in rows, or as they move."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('benchmark', type=Path, help='folder of the benchmark')
    parser.add_argument('picture', type=Path, help='.webp moves, .jpg does not')
    parser.add_argument('--runs', nargs='+', required=True, help='names below runs/')
    parser.add_argument('--frames', nargs='+', required=True, help='or FIRST-LAST')
    parser.add_argument('--data-root', type=Path, default=Path('data/pets'))
    parser.add_argument('--width', type=int, default=480, help='of one frame, pixels')
    args = parser.parse_args()
    frames = []
    for text in args.frames:
        first, _, last = text.partition('-')
        frames += range(int(first), int(last or first) + 1)
    columns = [draw_run(args, run, frames) for run in args.runs]
    rows = [np.hstack(cells) for cells in zip(*columns, strict=True)]
    moves = args.picture.suffix == '.webp'
    pictures = rows if moves else [np.vstack(rows)]
    images = [Image.fromarray(picture) for picture in pictures]
    save_picture(images, args.picture, round(1000 / FRAMES_PER_SECOND))


def draw_run(
    args: argparse.Namespace, run: str, frames: list[int]
) -> Iterator[np.ndarray]:
    """Yield the frames (H, W, 3), RGB, with the tracks of a run, and its name."""
    images = args.data_root / 'train' / SEQUENCE / 'img1'
    path = args.benchmark / 'runs' / run / 'tracks' / f'{SEQUENCE}.txt'
    tracks, drawer = read_tracks(path), TrackDrawer(TrackStyle(trail_length=TRAIL))
    for frame in range(min(frames) - TRAIL, max(frames) + 1):
        now = tracks.select(tracks.frame == frame - BEFORE)
        if frame not in frames:
            drawer.remember(now)
            continue
        image = cv2.imread(str(images / f'{frame:06d}.jpg'))[..., ::-1]
        image = drawer.draw(image, now)
        draw_caption(image, f'{run}, frame {frame}')
        height = round(image.shape[0] * args.width / image.shape[1])
        yield cv2.resize(image, (args.width, height), interpolation=cv2.INTER_AREA)


if __name__ == '__main__':
    main()
