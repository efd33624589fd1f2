# Copyright (c) mmfdta authors.
"""Score the results of any tracker, kept as MOTChallenge text; needs no PyTorch."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmfdta.structures.benchmarks import BENCHMARKS, FAMILIES, get_benchmark

if TYPE_CHECKING:
    from mmfdta.evaluation import Evaluation

_MOT_COLUMNS, _BOX_COLUMNS = 8, 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_folder_arguments(parser)
    parser.add_argument(
        '--metrics',
        nargs='+',
        default=list(FAMILIES),
        choices=FAMILIES,
        help='families of scores (default: all)',
    )
    parser.add_argument(
        '--classes',
        nargs='+',
        type=_parse_class,
        metavar='NAME=NUMBER',
        help='score classes one by one; numbers as in column 8 of both texts',
    )
    parser.add_argument(
        '--all-columns',
        action='store_true',
        help='print all usual scores, not only HOTA, DetA, AssA, MOTA, IDF1, IDSW',
    )
    parser.add_argument(
        '--out',
        type=Path,
        metavar='PATH',
        help='keep all scores: a .json or .csv file, or a folder for both',
    )
    parser.add_argument(
        '--processes',
        type=int,
        default=_count_cores(),
        metavar='N',
        help='sequences scored at a time (default: %(default)s, the cores)',
    )


def add_folder_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what is scored and by whose rules."""
    parser.add_argument(
        '--gt',
        required=True,
        type=Path,
        metavar='DIR',
        help='ground truth: <sequence>/gt/gt.txt or <sequence>.txt',
    )
    text = 'results: <sequence>.txt'
    parser.add_argument('--results', required=True, type=Path, metavar='DIR', help=text)
    parser.add_argument(
        '--benchmark',
        default='mot_challenge',
        choices=sorted(BENCHMARKS),
        help='whose rules to follow (default: %(default)s, all boxes count alike)',
    )
    parser.add_argument(
        '--sequences', nargs='+', metavar='NAME', help='take these sequences only'
    )


def run(options: argparse.Namespace) -> None:
    """Score, print the table and keep the scores."""
    from mmfdta.evaluation import Settings, evaluate
    from mmfdta.evaluation.folders import find_sequences
    from mmfdta.evaluation.table import format_table

    settings = Settings(
        benchmark=options.benchmark,
        families=tuple(options.metrics),
        classes=dict(options.classes) if options.classes else None,
    )
    scored_class = get_benchmark(options.benchmark).scored_class
    reads_classes = options.classes or scored_class is not None
    files, extra = find_sequences(
        options.gt,
        options.results,
        options.sequences,
        gt_columns=_MOT_COLUMNS if reads_classes else _BOX_COLUMNS,
    )
    if extra:
        print(
            f'mmfdta evaluate: {len(extra)} results have no ground truth and are not '
            f'scored, the first is {extra[0]}',
            file=sys.stderr,
        )
    evaluation = evaluate(files, settings, options.processes)
    print(format_table(evaluation, options.all_columns))
    if options.out is not None:
        _keep(evaluation, options.out)


def _keep(evaluation: 'Evaluation', path: Path) -> None:
    """Write scores in the format that the path asks for."""
    from mmfdta.evaluation.table import format_csv, format_json
    from mmfdta.structures.whole_files import write_text

    writers = {'.json': format_json, '.csv': format_csv}
    if path.suffix in writers and not path.is_dir():
        write_text(path, writers[path.suffix](evaluation))
    elif path.suffix and not path.is_dir():
        raise ValueError(
            f'--out: found {path}, expected a name that ends in .json or .csv, or a '
            'folder'
        )
    else:
        for suffix, write in writers.items():
            write_text(path / f'scores{suffix}', write(evaluation))


def _count_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _parse_class(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition('=')
    if not name or not number.lstrip('-').isdecimal():
        raise argparse.ArgumentTypeError(
            f'found {text!r}, expected NAME=NUMBER such as car=3'
        )
    return name, int(number)
