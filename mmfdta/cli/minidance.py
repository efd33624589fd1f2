# Copyright (c) mmfdta authors.
"""Render a MiniDance data set: dancers in nearly the same clothes.

    mmfdta minidance data/minidance --similarity 0.9 --frames 120

A folder that holds a set of the same options is reused.
"""

import argparse
import sys
import time
from dataclasses import fields

from mmfdta.minidance.scene import MiniDanceOptions

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
    crossing='probability that two dancers side by side meet in a beat of the dance',
    speed='pace of the dance; moves get larger from frame to frame',
    shake='amplitude of the camera shake, percent of the width',
    max_props='most distractor shapes of a sequence',
    jpeg_quality='quality of the images, 1..100',
    seed='seed of the whole set',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('root', help='folder to make')
    parser.add_argument('--processes', type=int, help='default: one per core')
    for option in fields(MiniDanceOptions):
        parser.add_argument(
            f'--{option.name.replace("_", "-")}',
            type=option.type,
            default=option.default,
            help=f'{HELP[option.name]} (default: {option.default})',
        )


def run(options: argparse.Namespace) -> None:
    """Render the data set."""
    from mmfdta.minidance.writing import make_minidance

    wanted = {
        field.name: getattr(options, field.name) for field in fields(MiniDanceOptions)
    }
    start = time.monotonic()
    made = make_minidance(
        options.root,
        MiniDanceOptions(**wanted),
        options.processes,
        lambda done, total: _show_progress(start, done, total),
    )
    print(f'{options.root}: {"rendered" if made else "reused, it was there already"}')


def _show_progress(start: float, done: int, total: int) -> None:
    passed = time.monotonic() - start
    left = passed / done * (total - done)
    end = '\n' if done == total or not sys.stdout.isatty() else '\r'
    if sys.stdout.isatty() or done % 10 == 0 or done == total:
        text = f'{done}/{total} sequences, {passed:.0f} s, {left:.0f} s left'
        print(f'{text:<60}', end=end, flush=True)
