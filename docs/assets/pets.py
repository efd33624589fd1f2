# Copyright (c) mmfdta authors.
"""Draw tracks of `mmfdta benchmark` side by side on frames of PETS09-S2L1.

The footage is PETS 2009, S2.L1, View 001, copyright University of Reading; pictures of
it name that source.

mmfdta benchmark benchmarks/pets_trained
python docs/assets/pets.py work_dirs/benchmark_test docs/assets/pets_tracks.jpg \
    --runs fdta bytetrack --frames 480 500
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from mmfdta.datasets.pets import NUM_FRAMES, SEQUENCE
from mmfdta.structures.mot_text import read_tracks
from mmfdta.visualization.drawing import TrackDrawer, TrackStyle, draw_caption

# The second half begins behind these frames; its tracks count from 1.
BEFORE = NUM_FRAMES // 2 + 1


def main() -> None:
    """Write one picture: a row for each frame, a column for each tracker."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('benchmark', type=Path, help='folder of the benchmark')
    parser.add_argument('picture', type=Path)
    parser.add_argument('--runs', nargs='+', required=True, help='names below runs/')
    parser.add_argument('--frames', nargs='+', type=int, required=True)
    parser.add_argument('--data-root', type=Path, default=Path('data/pets'))
    parser.add_argument('--width', type=int, default=480, help='of one frame, pixels')
    args = parser.parse_args()
    images = args.data_root / 'train' / SEQUENCE / 'img1'
    columns = []
    for run in args.runs:
        path = args.benchmark / 'runs' / run / 'tracks' / f'{SEQUENCE}.txt'
        tracks, drawer = read_tracks(path), TrackDrawer(TrackStyle(trail_length=20))
        cells = []
        for frame in range(min(args.frames) - 20, max(args.frames) + 1):
            now = tracks.select(tracks.frame == frame - BEFORE)
            if frame not in args.frames:
                drawer.remember(now)
                continue
            image = cv2.imread(str(images / f'{frame:06d}.jpg'))[..., ::-1]
            image = drawer.draw(image, now)
            draw_caption(image, f'{run}, frame {frame}')
            height = round(image.shape[0] * args.width / image.shape[1])
            size = (args.width, height)
            cells.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        columns.append(np.vstack(cells))
    picture = np.hstack(columns)[..., ::-1]
    cv2.imwrite(str(args.picture), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == '__main__':
    main()
