# Copyright (c) mmfdta authors.
"""Cut the README's moving picture, and stills, from a video that `mmfdta track` wrote.

The footage is PETS 2009, S2.L1, View 001, copyright University of Reading, which OpenCV
passes on as `samples/data/vtest.avi`; pictures of it name that source.

mmfdta track vtest.avi --out people.mp4
python docs/assets/people.py people.mp4 docs/assets/people.webp --frames 701-760
python docs/assets/people.py people.mp4 docs/assets/people.jpg --frames 560
"""

import argparse
from pathlib import Path

import av
from PIL import Image

STILL_QUALITY = 85


def main() -> None:
    """Read the frames and write one picture of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('video', help='what `mmfdta track` wrote')
    parser.add_argument('picture', type=Path, help='.webp moves, .jpg and .png do not')
    parser.add_argument('--frames', required=True, help='FIRST-LAST, or one; from 1')
    parser.add_argument('--width', type=int, help="in pixels; the video's by default")
    parser.add_argument('--quality', type=int, default=60, help='of moving pictures')
    args = parser.parse_args()
    first, _, last = args.frames.partition('-')
    images, milliseconds = read_frames(args.video, int(first), int(last or first))
    if args.width:
        size = (args.width, round(images[0].height * args.width / images[0].width))
        images = [image.resize(size, Image.Resampling.LANCZOS) for image in images]
    save_picture(images, args.picture, milliseconds, args.quality)


def save_picture(
    images: list[Image.Image], path: Path, milliseconds: int, quality: int = 60
) -> None:
    """Write one image, or several as a moving picture.

    Args:
        images: At least one.
        path: Its suffix decides the format.
        milliseconds: For how long each of several is shown.
        quality: Of a moving picture.
    """
    if len(images) == 1:
        images[0].save(path, quality=STILL_QUALITY, optimize=True)
    else:
        images[0].save(
            path,
            save_all=True,
            append_images=images[1:],
            duration=milliseconds,
            quality=quality,
            method=6,
        )
    print(f'{path}: {len(images)} frames, {path.stat().st_size} bytes')


def read_frames(video: str, first: int, last: int) -> tuple[list[Image.Image], int]:
    """Return some frames of a video, and for how many milliseconds each is shown."""
    images = []
    with av.open(video) as container:
        milliseconds = round(1000 / container.streams.video[0].average_rate)
        for number, frame in enumerate(container.decode(video=0), start=1):
            if number > last:
                break
            if number >= first:
                images.append(frame.to_image())
    if not images:
        raise SystemExit(f'{video} has no frame {first}.')
    return images, milliseconds


if __name__ == '__main__':
    main()
