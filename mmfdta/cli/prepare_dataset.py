# Copyright (c) mmfdta authors.
"""Write the annotation cache of a data set, or check it.

    mmfdta prepare-dataset dancetrack data/DanceTrack

Files of the data set are never moved or changed.
"""

import argparse
import os
import sys

from .check_data import add_check_options, add_data_set, check_splits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_data_set(parser)
    parser.add_argument(
        '--check', action='store_true', help='check the data set, write nothing'
    )
    parser.add_argument(
        '--coco',
        action='store_true',
        help="write CocoVID JSON for MMDetection's trackers",
    )
    add_check_options(parser)


def run(options: argparse.Namespace) -> int:
    """Prepare or check the data set.

    Returns:
        0, or 1 if a check found errors.
    """
    from mmfdta.datasets.kinds import find_kind, open_split
    from mmfdta.datasets.prepare import prepare_split

    kind = find_kind(options.kind)
    if options.check:
        return check_splits(kind, options)
    if options.classes and not options.coco:
        raise ValueError(
            '--classes: the cache holds all classes; name them with --coco or --check, '
            'and in configs with category_map'
        )
    root = os.path.normpath(options.root)
    for split in options.splits or kind.find_splits(root):
        dataset = open_split(
            kind, root, split, options.frame_numbers, options.classes or ()
        )
        for line in prepare_split(dataset, options.coco):
            is_remark = line.startswith('warning ')
            verb = 'mmfdta prepare-dataset: ' if is_remark else ''
            print(f'{verb}{line}', file=sys.stderr if is_remark else sys.stdout)
    return 0
