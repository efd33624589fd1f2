# Copyright (c) mmfdta authors.
"""Render a MiniDance data set: dancers in nearly the same clothes.

    python tools/make_minidance.py data/minidance --similarity 0.9 --frames 120

Reuses the folder if it holds a set of the same options.
"""

import argparse
import sys
import time
from dataclasses import fields

from mmfdta.minidance import MiniDanceOptions, make_minidance

HELP = dict(
    width='image width, pixels',
    height='image height, pixels',
    frames='frames of a sequence',
    train='training sequences',
    val='validation sequences',
    test='test sequences',
    min_dancers='fewest dancers of a sequence',
    max_dancers='most dancers of a sequence',
    similarity='1: the same clothes, hair and build; 0: as different as they get',
    crossing='probability that two neighbours meet in a beat of the dance',
    speed='pace of the dance; moves get larger from frame to frame',
    shake='amplitude of the camera shake, percent of the width',
    max_props='most distractor shapes of a sequence',
    jpeg_quality='quality of the images, 1..100',
    seed='seed of the whole set',
)


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('root', help='folder to make')
    parser.add_argument('--processes', type=int, help='default: one a core')
    for option in fields(MiniDanceOptions):
        parser.add_argument(
            f'--{option.name.replace("_", "-")}',
            type=option.type,
            default=option.default,
            help=f'{HELP[option.name]} (default: {option.default})',
        )
    return parser.parse_args(arguments)


def show_progress(start: float, done: int, total: int) -> None:
    """Print how far it is and when it will be ready."""
    passed = time.monotonic() - start
    left = passed / done * (total - done)
    end = '\n' if done == total or not sys.stdout.isatty() else '\r'
    if sys.stdout.isatty() or done % 10 == 0 or done == total:
        text = f'{done}/{total} sequences, {passed:.0f} s, {left:.0f} s left'
        print(f'{text:<60}', end=end, flush=True)


def main(arguments: list[str]) -> int:
    """Run the command."""
    args = vars(parse_arguments(arguments))
    root, processes = args.pop('root'), args.pop('processes')
    start = time.monotonic()
    try:
        made = make_minidance(
            root,
            MiniDanceOptions(**args),
            processes,
            lambda done, total: show_progress(start, done, total),
        )
    except (FileExistsError, ValueError) as error:
        print(f'make_minidance: {error}', file=sys.stderr)
        return 1
    print(f'{root}: {"rendered" if made else "reused, it was there already"}')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
