# Copyright (c) mmfdta authors.
"""Make the picture of the README out of the demo's video.

python docs/assets/demo.py work_dirs/demo/fdta_vs_bytetrack.mp4 20 26 32
"""

import sys
from pathlib import Path

import cv2
import numpy as np

WIDTH = 1000
QUALITY = 82


def main(video: str, *numbers: str) -> None:
    """Put frames of the video below each other.

    Args:
        video (str): The video of the demo.
        *numbers (str): Frames to show, from 1.
    """
    capture = cv2.VideoCapture(video)
    wanted, rows = {int(n) for n in numbers}, []
    for number in range(1, max(wanted) + 1):
        read, frame = capture.read()
        if not read:
            raise SystemExit(f'{video}: has no frame {number}')
        if number in wanted:
            height = round(frame.shape[0] * WIDTH / frame.shape[1])
            frame = cv2.resize(frame, (WIDTH, height), interpolation=cv2.INTER_AREA)
            rows.append(np.pad(frame, ((0, 4), (0, 0), (0, 0)), constant_values=255))
    picture = np.vstack(rows)[:-4]
    path = Path(__file__).with_name('demo.jpg')
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


if __name__ == '__main__':
    main(*sys.argv[1:])
