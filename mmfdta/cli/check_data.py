# Copyright (c) mmfdta authors.
"""Check images, annotations and depth maps of a data set.

    mmfdta check-data dancetrack data/DanceTrack

Only headers of images are read unless --decode is given. The exit code is 1 if there
are errors. With --launcher the sequences are shared out, and the first process reports.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from mmfdta.structures.frames import FRAME_NUMBERS
from mmfdta.utils.processes import Processes

from .arguments import add_launcher, join_job, number

if TYPE_CHECKING:
    from mmfdta.datasets import MOTSequenceDataset
    from mmfdta.datasets.checking import SequenceReport

Item = TypeVar('Item')
_THREADS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_kind(parser)
    parser.add_argument('root', help='folder of the data set')
    add_check_options(parser)
    add_launcher(parser)


def add_kind(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a data set."""
    parser.add_argument(
        'kind',
        help='which data set it is: dancetrack, sportsmot, bft, mot15, pets, mot16, '
        'mot17, mot20, crowdhuman, mot (any MOTChallenge layout), or a class of your '
        'own, my_module.MyDataset',
    )


def add_class_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names classes."""
    parser.add_argument(
        '--classes',
        nargs='+',
        metavar='NAME=NUMBER',
        help='classes by their numbers in column 8, in the order of their labels; NAME '
        "alone if a labels.txt next to gt.txt has it; the data set's by default",
    )


def add_check_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a check."""
    add_class_option(parser)
    parser.add_argument(
        '--frame-numbers',
        choices=FRAME_NUMBERS,
        default='auto',
        help='how frames of the texts are read: as the numbers in the names of the '
        'images, or counting the images, from 0 with count0 (default: what fits)',
    )
    parser.add_argument(
        '--splits', nargs='+', help='splits; by default those that are there'
    )
    parser.add_argument(
        '--decode', action='store_true', help='check: decode every image completely'
    )
    parser.add_argument(
        '--max-findings',
        type=number(0, whole=True),
        default=20,
        help='check: findings printed per sequence, 0 for all (default: 20)',
    )


def run(options: argparse.Namespace) -> int:
    """Check the data set.

    Returns:
        0 without errors, 1 with errors.
    """
    from mmfdta.datasets.kinds import find_kind

    with join_job(options) as processes:
        return check_splits(find_kind(options.kind), options, processes)


def check_splits(
    kind: 'type[MOTSequenceDataset]',
    options: argparse.Namespace,
    processes: Processes = Processes(),  # noqa: B008 (it is frozen)
    depth_only: bool = False,
) -> int:
    """Check splits of a data set; the first process prints the report of all.

    Args:
        kind: Class of the data set.
        options: With ``root`` and the options of a check.
        processes: They share the sequences.
        depth_only: Check depth maps only, and require them.

    Returns:
        0 without errors, 1 with errors.
    """
    from mmfdta.datasets.checking import ERROR, WARNING, Finding, summarise
    from mmfdta.datasets.classes import ClassRows
    from mmfdta.datasets.kinds import open_split

    errors = 0
    for split in options.splits or kind.find_splits(options.root):
        dataset = open_split(
            kind, options.root, split, options.frame_numbers, options.classes or ()
        )
        title = f'{dataset.dataset_name} {split}'.strip()
        checks = processes.share(dataset.checks(depth_only, options.decode))
        mine = []
        with ThreadPoolExecutor(_THREADS) as pool:
            done = pool.map(_call, checks)
            if processes.is_first:
                done = show_progress(done, title, len(checks), 'checks')
            for report in done:
                if processes.world == 1:
                    _print_findings(report, options.max_findings)
                mine.append(report)
        reports = processes.merge(mine)
        errors += sum(report.count(ERROR) for report in reports)
        if not processes.is_first:
            continue
        if processes.world > 1:
            for report in reports:
                _print_findings(report, options.max_findings)
        rows = ClassRows.total(report.rows for report in reports)
        table, remarks = dataset.describe_classes(rows)
        folder = str(dataset.split_folder(dataset.data_root, split))
        for remark in remarks:
            print(Finding(WARNING, folder, remark))
        print(f'\n{title}\n{summarise(reports)}\n')
        if table:
            print(f'{table}\n')
    if processes.is_first:
        print(f'{errors} error{"s" * (errors > 1)}' if errors else 'no errors')
    return 1 if errors else 0


def show_progress(
    items: Iterable[Item], title: str, total: int, unit: str
) -> Iterator[Item]:
    """Pass items on, with a progress bar on standard error."""
    from mmfdta.apis.progress import Progress

    bar = Progress(total, unit=unit, title=title)
    try:
        for item in items:
            yield item
            bar.update()
    finally:
        bar.close()


def _call(check: 'Callable[[], SequenceReport]') -> 'SequenceReport':
    return check()


def _print_findings(report: 'SequenceReport', max_findings: int) -> None:
    shown: Sequence = report.findings[: max_findings or None]
    for finding in shown:
        print(finding)
    more = len(report.findings) - len(shown)
    if more:
        print(
            f'        {report.name}: {more} more findings, --max-findings 0 shows all'
        )
