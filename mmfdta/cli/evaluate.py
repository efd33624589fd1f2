# Copyright (c) mmfdta authors.
"""Score the results of any tracker: MOTChallenge text and six formats more.

It needs no PyTorch.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from collections.abc import Sequence as SequenceOf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmfdta.structures.benchmarks import (
    AUTO,
    BENCHMARKS,
    FAMILIES,
    PLAIN,
    get_benchmark,
)
from mmfdta.structures.frames import FRAME_NUMBERS

from .arguments import number

if TYPE_CHECKING:
    from mmfdta.evaluation import Evaluation, Sequence
    from mmfdta.evaluation.formats import Side
    from mmfdta.evaluation.inputs import Tracker
    from mmfdta.evaluation.parts import Part

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
        '--events',
        type=Path,
        metavar='FILE',
        help='write every match, switch, miss and false positive by frame, as CSV '
        'that motmetrics can read',
    )


def add_folder_arguments(
    parser: argparse.ArgumentParser, needs_gt: bool = True
) -> None:
    """Add the arguments that say what is scored and by whose rules.

    Args:
        parser: Receives the arguments.
        needs_gt: ``--gt`` must be given, and results are named by ``--results``; else
            they are named without an option.
    """
    parser.add_argument(
        '--gt',
        required=needs_gt,
        type=Path,
        metavar='PATH',
        help='ground truth: <sequence>/gt/gt.txt or <sequence>.txt in a folder or zip, '
        'or one text',
    )
    parser.add_argument(
        '--gt-file',
        default='gt.txt',
        metavar='NAME',
        help='name of the texts in <sequence>/gt, such as gt_val_half.txt, or a path '
        'from the folder of the sequences, such as {seq}/labels/{seq}.txt (default: '
        '%(default)s)',
    )
    part = parser.add_mutually_exclusive_group()
    part.add_argument(
        '--half',
        choices=('first', 'second'),
        help='score a half of each sequence, as is usual for MOT17: of L frames the '
        'first L // 2 + 1, or the rest',
    )
    part.add_argument(
        '--frames',
        type=_parse_part,
        metavar='FIRST-LAST[/STEP]',
        help='score these frames of each sequence, such as 1-300, 301- or 1-600/2; '
        '"all" scores all, also where results seem to be of a part',
    )
    results: dict[str, Any] = dict(
        nargs='+',
        type=Path,
        help='results: <sequence>.txt in a folder or zip, or single texts; several for '
        'several trackers, or a folder of trackers',
    )
    if needs_gt:
        parser.add_argument('--results', required=True, metavar='PATH', **results)
    else:
        parser.add_argument('results', metavar='TRACKS', **results)
    parser.add_argument(
        '--benchmark',
        default=AUTO,
        choices=[AUTO, *sorted(BENCHMARKS)],
        help='whose rules to follow (default: %(default)s, those that names, classes '
        'and format of the ground truth tell)',
    )
    for option, side in (('', 'ground truth text'), ('result-', 'results')):
        parser.add_argument(
            f'--{option}frame-numbers',
            choices=FRAME_NUMBERS,
            default='auto',
            help=f'how frames of {side} are read: as the numbers in the names of the '
            'images, or counting the images, from 0 with count0 (default: what fits)',
        )
    parser.add_argument(
        '--keep-boxes',
        action='store_true',
        help='score boxes as they stand, also where they seem to be corners, centres, '
        'fractions or of another image size',
    )
    parser.add_argument(
        '--classes',
        nargs='+',
        metavar='NAME=NUMBER',
        help='score classes one by one; numbers as in column 8 of both texts, two or '
        'more with commas; NAME alone if a labels.txt next to the ground truth has it',
    )
    parser.add_argument(
        '--unclassed',
        metavar='NAME',
        help='which class, of --classes or of the format, results are of that have '
        'none in column 8',
    )
    parser.add_argument(
        '--sequences',
        nargs='+',
        metavar='NAME',
        help="take these sequences only; patterns such as 'MOT17-*-FRCNN' are known",
    )
    parser.add_argument(
        '--seqmap',
        type=Path,
        metavar='FILE',
        help='take the sequences that this file names, one per line below "name"',
    )
    parser.add_argument(
        '--processes',
        type=number(1, whole=True),
        default=_count_cores(),
        metavar='N',
        help='sequences scored at a time (default: %(default)s, the cores)',
    )


def find_options_trackers(
    options: argparse.Namespace, gt_columns: int = _BOX_COLUMNS
) -> list['Tracker']:
    """Find what :func:`add_folder_arguments` names, and say what is worth saying.

    Args:
        options: The parsed arguments.
        gt_columns: Fewest columns of ground truth text.
    """
    from mmfdta.evaluation.inputs import Inputs, find_trackers
    from mmfdta.evaluation.parts import Part

    trackers, remarks = find_trackers(
        Inputs(
            gt=options.gt,
            results=options.results,
            sequences=options.sequences,
            seqmap=options.seqmap,
            gt_file=options.gt_file,
            gt_columns=gt_columns,
            frame_numbers=options.frame_numbers,
            result_frame_numbers=options.result_frame_numbers,
            keep_boxes=options.keep_boxes,
            part=Part(half=options.half) if options.half else options.frames,
            benchmark=options.benchmark,
            unclassed=options.unclassed,
        )
    )
    say(options, remarks)
    return trackers


def choose_benchmark(
    options: argparse.Namespace,
    truth: 'Side',
    sequences: SequenceOf['Sequence'],
    by_class: bool = False,
) -> tuple[str, list[str]]:
    """Take the benchmark that is named, or find it.

    Args:
        options: The parsed arguments.
        truth: Where the ground truth is from.
        sequences: Both sides, read.
        by_class: Classes are to be scored one by one.

    Returns:
        Its name, and a line for the user that says why it is this one.

    Raises:
        ValueError: If the ground truth is in a format that has other rules.
    """
    from mmfdta.evaluation.folders import TextSide
    from mmfdta.evaluation.recognition import check_format, recognise, recognise_format

    if options.benchmark != AUTO:
        check_format(truth, options.benchmark)
        return options.benchmark, []
    titles = truth.titles() if isinstance(truth, TextSide) else None
    found = recognise_format(truth) or recognise(
        sequences, str(options.gt.absolute()), by_class, titles
    )
    return found.benchmark, [str(found)]


def say(options: argparse.Namespace, remarks: Iterable[str]) -> None:
    """Write remarks to standard error, with the name of the verb, each once."""
    said = vars(options).setdefault('said', set())
    for remark in remarks:
        if remark in said:
            continue
        said.add(remark)
        print(f'mmfdta {options.verb}: {remark}', file=sys.stderr)


def score_trackers(
    options: argparse.Namespace, families: tuple[str, ...], events: bool
) -> tuple[dict[str, 'Evaluation'], int]:
    """Score what :func:`add_folder_arguments` names, and say what is worth saying.

    Args:
        options: The parsed arguments.
        families: Of ``HOTA``, ``CLEAR``, ``Identity``.
        events: List the events, too.

    Returns:
        Scores by tracker, without the trackers that could not be scored if there are
        several; and the number of all trackers.

    Raises:
        OSError: If something is missing.
        ValueError: If the only tracker cannot be scored.
    """
    trackers = find_options_trackers(options, _gt_columns(options))
    evaluations = {}
    for tracker in trackers:
        prefix = f'{tracker.name}: ' if len(trackers) > 1 else ''
        try:
            evaluations[tracker.name] = score_tracker(
                options, tracker, families, events, prefix
            )
        except (OSError, ValueError) as error:  # the others are scored
            if len(trackers) == 1:
                raise
            say(options, [f'{prefix}not scored: {error}'])
    return evaluations, len(trackers)


def score_tracker(
    options: argparse.Namespace,
    tracker: 'Tracker',
    families: tuple[str, ...],
    events: bool,
    prefix: str = '',
) -> 'Evaluation':
    """Score one tracker, and say what is worth saying.

    Args:
        options: The parsed arguments.
        tracker: Both sides.
        families: Of ``HOTA``, ``CLEAR``, ``Identity``.
        events: List the events, too.
        prefix: Comes before what is said of the tracker.

    Raises:
        OSError: If something is missing.
        ValueError: If the tracker cannot be scored.
    """
    from mmfdta.evaluation import Settings, evaluate
    from mmfdta.evaluation.folders import TextSide
    from mmfdta.evaluation.plausibility import check_class_numbers, check_scored
    from mmfdta.structures.classes import LABELS_FILE, choose_classes

    sequences, remarks = tracker.load(options.processes)
    say(options, [prefix + remark for remark in remarks])
    benchmark, why = choose_benchmark(
        options, tracker.truth, sequences, bool(options.classes)
    )
    say(options, why)
    names = tracker.class_names()
    is_text = isinstance(tracker.truth, TextSide)
    origin = f'{LABELS_FILE} next to the ground truth' if is_text else 'the format'
    asked = choose_classes(options.classes or (), names, origin)
    rules = Settings(
        benchmark=benchmark,
        families=families,
        classes=asked or tracker.truth.classes,
        all_classes=not asked,
        unclassed=options.unclassed,
        class_names=names,
        events=events,
    )
    check_class_numbers(sequences, rules)
    evaluation = evaluate(sequences, rules, options.processes)
    remarks = [*evaluation.remarks, *check_scored(sequences, rules)]
    say(options, [prefix + remark for remark in remarks])
    return evaluation


def _gt_columns(options: argparse.Namespace) -> int:
    """Fewest columns that ground truth text must have, as far as options tell.

    Raises:
        ValueError: If they do not go together.
    """
    from mmfdta.evaluation import Settings

    settings = Settings(
        benchmark=PLAIN if options.benchmark == AUTO else options.benchmark,
        classes={} if options.classes else None,
    )
    scored_class = get_benchmark(settings.benchmark).scored_class
    reads_classes = options.classes or scored_class is not None
    return _MOT_COLUMNS if reads_classes else _BOX_COLUMNS


def run(options: argparse.Namespace) -> int:
    """Score, print the table and keep the scores."""
    out = options.out
    if out and out.suffix not in ('', '.json', '.csv') and not out.is_dir():
        raise ValueError(
            f'--out: found {out}, expected a name that ends in .json or .csv, or a '
            'folder'
        )
    if options.events is not None and options.events.is_dir():
        raise ValueError(
            f'--events: found the folder {options.events}, expected a file'
        )
    evaluations, num_trackers = score_trackers(
        options, tuple(options.metrics), events=options.events is not None
    )
    _show(options, evaluations, num_trackers > 1)
    return int(len(evaluations) < num_trackers)


def _show(
    options: argparse.Namespace, evaluations: dict[str, 'Evaluation'], of_several: bool
) -> None:
    """Print the table, and write what ``--out`` and ``--events`` ask for."""
    from mmfdta.evaluation import table
    from mmfdta.evaluation.events import write_events
    from mmfdta.structures.whole_files import write_text

    writers: dict[str, Callable[[], str]]
    if of_several:
        if evaluations:
            print(table.format_trackers(evaluations, options.all_columns))
        writers = {
            '.json': lambda: table.format_trackers_json(evaluations),
            '.csv': lambda: table.format_trackers_csv(evaluations),
        }
    else:
        (evaluation,) = evaluations.values()
        print(table.format_table(evaluation, options.all_columns))
        if not table.shows_sequences(evaluation):
            many = f'{len(evaluation.classes)} classes in {len(evaluation.sequences)}'
            line = f'{many} sequences: --out keeps the scores of each sequence'
            say(options, [line])
        writers = {
            '.json': lambda: table.format_json(evaluation),
            '.csv': lambda: table.format_csv(evaluation),
        }
    if options.events is not None and evaluations:
        events = {name: of.events for name, of in evaluations.items()}
        write_events(options.events, events)
    path = options.out
    if path is None or not evaluations:
        return
    if path.suffix in writers and not path.is_dir():
        write_text(path, writers[path.suffix]())
    else:
        for suffix, write in writers.items():
            write_text(path / f'scores{suffix}', write())


def _count_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _parse_part(text: str) -> 'Part':
    from mmfdta.evaluation.parts import Part

    try:
        return Part.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
