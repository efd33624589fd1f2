# Copyright (c) mmfdta authors.
"""Make finished tracks better: join tracklets, remove short tracks, fill gaps, smooth.

The steps are taken in this order, those that are named; if none is, those that served
on the validation data of the project: --join, --remove-short and --interpolate. A
table says what each step added and removed, and with --gt another one the scores
before and after. It needs no PyTorch.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmfdta.structures.benchmarks import FAMILIES

from .arguments import number
from .evaluate import (
    add_folder_arguments,
    find_options_trackers,
    say,
    score_tracker,
    score_trackers,
)

if TYPE_CHECKING:
    from mmfdta.evaluation import Evaluation
    from mmfdta.evaluation.formats import Side
    from mmfdta.evaluation.inputs import Tracker
    from mmfdta.refinement.files import RefinedFiles

_SETTINGS = (
    *('join', 'join_distance', 'join_similarity', 'join_boxes'),
    *('remove_short', 'interpolate', 'max_gap', 'smooth', 'memory', 'frame_step'),
)
# Options that only say how scores are made.
_OF_SCORES = (
    *('half', 'frames', 'gt_file', 'benchmark', 'frame_numbers'),
    *('result_frame_numbers', 'keep_boxes', 'classes', 'unclassed'),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    from mmfdta.refinement import DEFAULT_STEPS, INTERPOLATIONS, Refinement

    add_folder_arguments(parser, needs_gt=False)
    unsaid = {name: parser.get_default(name) for name in _OF_SCORES}
    parser.set_defaults(unsaid=unsaid)
    parser.add_argument(
        '--out',
        required=True,
        type=Path,
        metavar='PATH',
        help='folder for <sequence>.txt, with a folder for each of several trackers; '
        'or a .txt for one sequence',
    )
    parser.add_argument(
        '--report',
        type=Path,
        metavar='FILE',
        help='keep what each step did to each sequence as JSON: counts, the tracklets '
        'that were joined, the tracks that were removed',
    )
    steps = parser.add_argument_group('steps')
    steps.add_argument(
        '--join',
        nargs='?',
        const=DEFAULT_STEPS['join'],
        type=number(0, whole=True),
        metavar='FRAMES',
        help='join tracklets over gaps of at most so many frames (%(const)s)',
    )
    steps.add_argument(
        '--remove-short',
        nargs='?',
        const=DEFAULT_STEPS['remove_short'],
        type=number(1, whole=True),
        metavar='BOXES',
        help='remove tracks of fewer boxes (%(const)s)',
    )
    steps.add_argument(
        '--interpolate',
        nargs='?',
        const=DEFAULT_STEPS['interpolate'],
        choices=INTERPOLATIONS,
        help='put boxes into the gaps of tracks, on a line or on the mean of a '
        'Gaussian process (%(const)s)',
    )
    steps.add_argument(
        '--smooth',
        nargs='?',
        const=0.1,
        type=number(0),
        metavar='NOISE',
        help='smooth the boxes with a Gaussian process; NOISE is the size of the '
        'jitter in units of how far an object usually moves per frame (%(const)s)',
    )
    limits = parser.add_argument_group('limits')
    limits.add_argument(
        '--join-distance',
        type=number(0),
        metavar='HEIGHTS',
        help='how far motion may be off, in heights of the object (default: '
        f'{Refinement.join_distance})',
    )
    limits.add_argument(
        '--join-similarity',
        type=number(-1, 1),
        metavar='COSINE',
        help=f'lowest similarity of embeddings (default: {Refinement.join_similarity})',
    )
    limits.add_argument(
        '--join-boxes',
        type=number(1, whole=True),
        metavar='BOXES',
        help='tracklets of fewer boxes are not joined (default: '
        f'{Refinement.join_boxes})',
    )
    limits.add_argument(
        '--embeddings',
        nargs='?',
        const=Path(),
        type=Path,
        metavar='PATH',
        help='also join by the embeddings of the boxes: <sequence>.npz or a folder of '
        'such files; next to the texts if no path is given',
    )
    limits.add_argument(
        '--max-gap',
        type=number(0, whole=True),
        metavar='FRAMES',
        help=f'longest gap that boxes are put into (default: {Refinement.max_gap})',
    )
    limits.add_argument(
        '--memory',
        type=number(0.1),
        metavar='FRAMES',
        help='over how many frames a velocity forgets itself, for --join, gaussian and '
        f'--smooth (default: {Refinement.memory:g})',
    )
    limits.add_argument(
        '--frame-step',
        type=number(1, whole=True),
        metavar='N',
        help='the frames of the video are numbered N apart (default: '
        f'{Refinement.frame_step})',
    )


def run(options: argparse.Namespace) -> int:
    """Refine, write, and say what was done; score both sides if asked to."""
    from mmfdta.evaluation.inputs import find_unpaired
    from mmfdta.evaluation.pairing import pair_sides, read_seqmap
    from mmfdta.refinement.files import (
        open_refined,
        plan_outputs,
        refine_side,
        write_refined,
    )
    from mmfdta.structures.whole_files import write_text

    settings = {
        name: getattr(options, name)
        for name in _SETTINGS
        if getattr(options, name) is not None
    }
    sides: list[tuple[str, Side]]
    truth: Side | None = None
    trackers: list[Tracker] = []
    before: dict[str, Evaluation] = {}
    code = 0
    if options.gt is None:
        for name, default in options.unsaid.items():
            if getattr(options, name) != default:
                raise ValueError(
                    f'--{name.replace("_", "-")}: says how tracks are scored, expected '
                    '--gt as well'
                )
        if options.sequences is not None and options.seqmap is not None:
            raise ValueError('--sequences and --seqmap: expected one of them')
        sides = find_unpaired(options.results)
    else:
        trackers = find_options_trackers(options)
        sides = [(tracker.name, tracker.results) for tracker in trackers]
        truth = trackers[0].truth
        before, count = score_trackers(options, FAMILIES, events=False)
        code = int(len(before) < count)
    wanted = options.sequences
    if options.seqmap is not None:
        wanted, remarks = read_seqmap(options.seqmap)
        say(options, remarks)
    found = []
    for name, side in sides:
        # Where classes are scored together, the scores before have decided.
        pairs = before[name].pairs_results if name in before else None
        names = wanted
        if wanted is not None and name in before and truth is not None:
            names = pair_sides(truth, side, wanted).results
        refined = refine_side(name, side, settings, names, options.embeddings, pairs)
        found.append((refined, side))
    for refined, _ in found:
        say(options, refined.remarks)
    files = plan_outputs(options.out, found, truth, options.results)
    for (refined, _), of_tracker in zip(found, files, strict=True):
        write_refined(refined, of_tracker, truth)
    if options.report is not None:
        report = {refined.name: refined.report() for refined, _ in found}
        write_text(options.report, json.dumps(report, indent=1) + '\n')
    print(_describe([refined for refined, _ in found]))
    if before:
        after = {}
        for (refined, side), of_tracker in zip(found, files, strict=True):
            if refined.name in before:
                tracker = next(t for t in trackers if t.name == refined.name)
                written = open_refined(side, of_tracker, tracker.truth)
                prefix = f'{refined.name}: ' if len(found) > 1 else ''
                after[refined.name] = score_tracker(
                    options,
                    replace(tracker, results=written, like=side),
                    FAMILIES,
                    events=False,
                    prefix=prefix,
                )
        print(f'\n{_compare(before, after)}')
    return code


def _describe(found: 'list[RefinedFiles]') -> str:
    """Write what each step did as a table."""
    from mmfdta.structures.tables import plain_table

    columns = 'added', 'removed', 'moved', 'renamed'
    rows: list[list[object]] = []
    for refined in found:
        title = [refined.name] if len(found) > 1 else []
        for change in refined.changes:
            counts = [*change.tracks, *change.boxes]
            counts += [getattr(change, name) for name in columns]
            rows.append([*title, change.step.replace('_', '-'), *counts])
    title = ['tracker'] if len(found) > 1 else []
    head = ['step', 'tracks before', 'after', 'boxes before', 'after', *columns]
    return plain_table([*title, *head], rows)


def _compare(before: 'dict[str, Evaluation]', after: 'dict[str, Evaluation]') -> str:
    """Write the scores before and after as a table."""
    from mmfdta.evaluation.table import format_trackers

    rows = {}
    for name in before:
        prefix = f'{name} ' if len(before) > 1 else ''
        rows[f'{prefix}before'] = before[name]
        rows[f'{prefix}after'] = after[name]
    return format_trackers(rows)
