# Copyright (c) mmfdta authors.
"""How sources of frames are read: the arguments of commands that track them."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmfdta.apis.sources import SourceOptions


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of reading."""
    group = parser.add_argument_group('reading')
    group.add_argument(
        '--skip-broken',
        action='store_true',
        help='skip frames that cannot be decoded and continue with the next key frame; '
        'skipped frames are counted. By default the run ends there',
    )
    group.add_argument(
        '--reconnect',
        type=int,
        default=0,
        metavar='TRIES',
        help='try a stream that was lost again, so many times in a row, after 1, 2, '
        '4, ... and at most 30 s',
    )
    group.add_argument(
        '--value-range',
        type=float,
        nargs=2,
        metavar=('LOW', 'HIGH'),
        help='values of 16-bit and float images that are black and white; found in '
        'the images, and said',
    )


def source_options(options: argparse.Namespace) -> 'SourceOptions':
    """Read the options of reading.

    Raises:
        ValueError: If a value makes no sense.
    """
    from mmfdta.apis.sources import SourceOptions

    low_high = options.value_range
    return SourceOptions(
        skip_broken=options.skip_broken,
        reconnect=options.reconnect,
        frame_rate=options.fps,
        value_range=None if low_high is None else (low_high[0], low_high[1]),
    )
