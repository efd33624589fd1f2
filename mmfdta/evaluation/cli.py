# Copyright (c) mmfdta authors.
"""The command ``python -m mmfdta evaluate``."""

import argparse
import os
import sys
from collections.abc import Sequence as SequenceOf
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from mmfdta.structures.benchmarks import BENCHMARKS, get_benchmark
from mmfdta.structures.whole_files import write_text

from .folders import find_sequences
from .runner import Settings, evaluate
from .scores import FAMILIES, Evaluation
from .table import format_csv, format_json, format_table

_MOT_COLUMNS = 8


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments.

    Returns:
        argparse.ArgumentParser: The parser.
    """
    parser = argparse.ArgumentParser(
        prog='python -m mmfdta evaluate',
        description='Score the results of any tracker, kept as MOTChallenge text.',
    )
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
        '--metrics',
        nargs='+',
        default=list(FAMILIES),
        choices=FAMILIES,
        help='families of scores (default: all)',
    )
    parser.add_argument(
        '--sequences', nargs='+', metavar='NAME', help='score these sequences only'
    )
    parser.add_argument(
        '--classes',
        nargs='+',
        type=_parse_class,
        metavar='NAME=NUMBER',
        help='score classes one by one; numbers as in column 8 of both texts',
    )
    parser.add_argument(
        '--out',
        type=Path,
        metavar='PATH',
        help='keep the scores: a .json or .csv file, or a folder for both',
    )
    parser.add_argument(
        '--processes',
        type=int,
        default=_count_cores(),
        metavar='N',
        help='sequences scored at a time (default: %(default)s, the cores)',
    )
    return parser


def main(arguments: SequenceOf[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments (Sequence[str] | None): Command line without the program;
            None takes that of the process.

    Returns:
        int: 0, or 1 if the folders cannot be scored.
    """
    options = build_parser().parse_args(arguments)
    try:
        evaluation = _evaluate(options)
        print(format_table(evaluation))
        if options.out is not None:
            _keep(evaluation, options.out)
    except (OSError, ValueError, BrokenProcessPool) as error:
        print(f'mmfdta evaluate: error: {error}', file=sys.stderr)
        return 1
    return 0


def _evaluate(options: argparse.Namespace) -> Evaluation:
    settings = Settings(
        benchmark=options.benchmark,
        families=tuple(options.metrics),
        classes=dict(options.classes) if options.classes else None,
    )
    has_classes = options.classes or (
        get_benchmark(options.benchmark).scored_class is not None
    )
    files, extra = find_sequences(
        options.gt,
        options.results,
        options.sequences,
        gt_columns=_MOT_COLUMNS if has_classes else 6,
    )
    if extra:
        print(
            f'mmfdta evaluate: {len(extra)} results have no ground truth and are not '
            f'scored, the first is {extra[0]}',
            file=sys.stderr,
        )
    return evaluate(files, settings, options.processes)


def _keep(evaluation: Evaluation, path: Path) -> None:
    """Write scores in the format that the path asks for."""
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
