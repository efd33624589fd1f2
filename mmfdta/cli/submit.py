# Copyright (c) mmfdta authors.
"""Check results on a test set without ground truth and pack them for its server."""

import argparse
from pathlib import Path

from mmfdta.structures.benchmarks import BENCHMARKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'benchmark',
        choices=sorted(b.name for b in BENCHMARKS.values() if b.zip_folder is not None),
        help='whose server the zip is for',
    )
    parser.add_argument(
        '--results', required=True, type=Path, help='folder or zip with <sequence>.txt'
    )
    parser.add_argument(
        '--data',
        required=True,
        type=Path,
        help='folder of the test split, with a folder for each sequence',
    )
    parser.add_argument('--out', required=True, type=Path, help='the zip to write')


def run(options: argparse.Namespace) -> None:
    """Pack, and say what was packed."""
    from mmfdta.evaluation.submission import make_submission

    made = make_submission(
        options.benchmark, options.results, options.data, options.out
    )
    if made.left_out:
        print(f'left out, no such sequence: {", ".join(made.left_out)}')
    if made.cleaned:
        print(
            'packed without a byte order mark or blank lines, which the official '
            f'reader refuses: {", ".join(made.cleaned)}'
        )
    total = sum(made.rows.values())
    print(f'{made.path}: {len(made.rows)} sequences, {total} rows')
