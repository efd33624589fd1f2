# Copyright (c) mmfdta authors.
"""Command line that prepares a data set: caches, JSON, checks."""

import argparse
import os
import sys
from collections.abc import Sequence

from .cache import save_cache
from .check_data import add_check_arguments, run_checks
from .coco_vid import write_coco_vid
from .kinds import KINDS, find_splits, open_split


def prepare_split(kind: str, data_root: str, split: str, coco: bool = False) -> None:
    """Write what speeds loading up; nothing of the user's is changed.

    Args:
        kind: A key of ``KINDS``.
        data_root: The data set's folder.
        split: Name of the split.
        coco: Write CocoVID JSON too.
    """
    dataset = open_split(kind, data_root, split)
    sequences, remarks, files = dataset.read_sequences()
    for remark in remarks:
        print(f'warning {remark}')
    save_cache(dataset.cache_path, data_root, sequences, files)
    frames = sum(len(sequence) for sequence in sequences)
    print(
        f'{dataset.NAME} {split}: {len(sequences)} sequences, {frames} images -> '
        f'{dataset.cache_path}'
    )
    if coco:
        path = dataset.cache_path.replace('_mmfdta.npz', '_cocovid.json')
        left_out = write_coco_vid(dataset, path)
        print(f'{dataset.NAME} {split}: {left_out} rows not trained on -> {path}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare or check a data set.

    Args:
        arguments: Command line; by default that of the
            process.

    Returns:
        0 if all is well, 1 if the check found errors, there is nothing to
        prepare or an annotation is broken.
    """
    parser = argparse.ArgumentParser(
        prog='python -m mmfdta prepare-dataset',
        description='Write the annotation cache of a data set, or check it. Files of '
        'the data set are never moved or changed.',
    )
    parser.add_argument('kind', choices=sorted(KINDS), help='which data set it is')
    parser.add_argument('root', help='folder of the data set')
    parser.add_argument(
        '--check', action='store_true', help='check the data set, write nothing'
    )
    parser.add_argument(
        '--coco',
        action='store_true',
        help="write CocoVID JSON for MMDetection's trackers",
    )
    add_check_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        splits = options.splits or find_splits(options.kind, options.root)
        if options.check:
            errors = run_checks(
                options.kind,
                options.root,
                splits,
                decode=options.decode,
                max_findings=options.max_findings,
            )
            return 1 if errors else 0
        for split in splits:
            prepare_split(
                options.kind, os.path.normpath(options.root), split, options.coco
            )
    except (FileNotFoundError, ValueError) as error:
        print(f'mmfdta prepare-dataset: {error}', file=sys.stderr)
        return 1
    return 0
