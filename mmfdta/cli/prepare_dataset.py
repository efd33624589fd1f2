# Copyright (c) mmfdta authors.
"""Write the annotation cache of a data set, or check it.

    mmfdta prepare-dataset dancetrack data/DanceTrack
    mmfdta prepare-dataset pets vtest.avi PETS2009-S2L1.xml data/pets

Of PETS, the images and ground truth of PETS09-S2L1 are first written from the public
video and its annotation, MOTChallenge text or CVML. Files of the user are never moved
or changed.
"""

import argparse
import os
import sys
from contextlib import closing

from .check_data import add_check_options, add_kind, check_splits, show_progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_kind(parser)
    parser.add_argument(
        'paths',
        nargs='+',
        metavar='root',
        help='folder of the data set; of pets that is to be written, the video, its '
        'annotation and the folder',
    )
    parser.add_argument(
        '--check', action='store_true', help='check the data set, write nothing'
    )
    parser.add_argument(
        '--coco',
        action='store_true',
        help="write CocoVID JSON for MMDetection's trackers",
    )
    parser.add_argument(
        '--ground-depth',
        action='store_true',
        help='pets: draw depth maps from the boxes, for people on level ground',
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
    *sources, root = options.paths
    options.root = root = os.path.normpath(root)
    if sources or options.ground_depth:
        if kind.BENCHMARK.name != 'pets' or len(sources) != 2 or options.check:
            raise ValueError(
                f'found prepare-dataset {options.kind} {" ".join(options.paths)}'
                f'{" --ground-depth" * options.ground_depth}'
                f'{" --check" * options.check}, expected prepare-dataset KIND ROOT, or '
                'prepare-dataset pets VIDEO ANNOTATION ROOT [--ground-depth]'
            )
        video, annotation = sources
        print(_write_pets(video, annotation, root, options.ground_depth))
    if options.check:
        return check_splits(kind, options)
    if options.classes and not options.coco:
        raise ValueError(
            '--classes: the cache holds all classes; name them with --coco or --check, '
            'and in configs with category_map'
        )
    for split in options.splits or kind.find_splits(root):
        dataset = open_split(
            kind, root, split, options.frame_numbers, options.classes or ()
        )
        for line in prepare_split(dataset, options.coco):
            is_remark = line.startswith('warning ')
            verb = 'mmfdta prepare-dataset: ' if is_remark else ''
            print(f'{verb}{line}', file=sys.stderr if is_remark else sys.stdout)
    return 0


def _write_pets(video: str, annotation: str, root: str, ground_depth: bool) -> str:
    """Write the sequence; returns the line to print."""
    from mmfdta.apis.sources import open_source
    from mmfdta.datasets.pets import NUM_FRAMES, SEQUENCE, read_annotation
    from mmfdta.datasets.pets import write_sequence as write

    tracks = read_annotation(annotation)
    with closing(open_source(video)) as source:
        images = (frame.image for frame in source)
        frames = show_progress(images, SEQUENCE, NUM_FRAMES, 'frames')
        try:
            return write(root, frames, tracks, ground_depth)
        except ValueError as error:
            raise ValueError(f'{video}: {error}') from None
