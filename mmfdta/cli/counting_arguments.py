# Copyright (c) mmfdta authors.
"""Options of ``track`` for counting and watching."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmfdta.apis import Counts, ObjectCounter


def add_counting_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--line``, ``--zone``, ``--counts`` and ``--show``.

    Args:
        parser: Receives them.
    """
    group = parser.add_argument_group('counting and watching')
    group.add_argument(
        '--line',
        action='append',
        default=[],
        metavar='[NAME=]X1,Y1,X2,Y2',
        help='count objects that cross a line, in pixels or fractions of the image. '
        '"in" is to the left, seen from the first point to the second; may be '
        'repeated; write --line=-5,... if the first number is negative',
    )
    group.add_argument(
        '--zone',
        action='append',
        default=[],
        metavar='FILE',
        help='count who is in the zones of a JSON file, {"NAME": [[x, y], ...]} or '
        'GeoJSON, and for how long; may be repeated',
    )
    group.add_argument(
        '--count-at',
        choices=('foot', 'center'),
        help='where an object is: the middle of the lower side of its box (default) or '
        'its center, for views from above',
    )
    group.add_argument(
        '--counts', metavar='FILE.csv', help='write what was counted and the totals'
    )
    group.add_argument(
        '--show', action='store_true', help='show a window; q or Esc ends'
    )


def read_counter(options: argparse.Namespace) -> 'ObjectCounter | None':
    """Make what counts, if anything is to be counted; check the options.

    Args:
        options: Those of :func:`add_counting_options`, and ``sources``.

    Raises:
        ValueError: If an option is wrong, or counts are asked for of nothing.
        RuntimeError: If no window can be opened.
    """
    if options.show:
        from mmfdta.apis.window import check_display

        check_display()
    if not options.line and not options.zone:
        for name in ('counts', 'count_at'):
            if getattr(options, name):
                raise ValueError(
                    f'--{name.replace("_", "-")}: nothing is counted; add --line or '
                    '--zone'
                )
        return None
    if options.counts and Path(options.counts).suffix.lower() != '.csv':
        raise ValueError(f'--counts: found {options.counts}, expected FILE.csv')
    if options.counts and len(options.sources) > 1:
        raise ValueError(
            f'--counts: found {len(options.sources)} sources, expected one; '
            'track them one by one'
        )

    from mmfdta.apis import CountingLine, ObjectCounter, read_zones

    lines = [
        CountingLine.parse(text, number)
        for number, text in enumerate(options.line, start=1)
    ]
    zones = [zone for path in options.zone for zone in read_zones(path)]
    return ObjectCounter(lines, zones, anchor=options.count_at or 'foot')


def describe_counts(counts: 'Counts') -> str:
    """Write all totals on one line."""
    text = '; '.join(counts.describe_all())
    timeless = counts.zones and counts.totals and not counts.seconds
    return f'{text} (no time stamps, so no seconds)' if timeless else text
