# Copyright (c) mmfdta authors.
"""Command line that checks a data set: ``python -m mmfdta check-data``."""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from rich.console import Console
from rich.progress import track

from .checking import ERROR, NOTE, WARNING, Finding, SequenceReport, check_sequence
from .crowdhuman import CrowdHumanClipDataset, find_image_folder
from .kinds import KINDS, find_splits, open_split
from .layouts import list_folders
from .mot_sequence import MOTSequenceDataset
from .transforms.decoding import decode_exact, read_image_size

_THREADS = 4


def check_split(
    dataset: MOTSequenceDataset, depth_only: bool = False, decode: bool = False
) -> Iterable[SequenceReport]:
    """Check the sequences of a split, one after the other.

    Args:
        dataset: The split; need not be read.
        depth_only: Check depth maps only, and require them.
        decode: Decode every image completely.

    Yields:
        What was found in a sequence.
    """
    if isinstance(dataset, CrowdHumanClipDataset):
        yield check_static_images(dataset, decode)
        return
    sources = dataset.sources()
    strays = _find_strays(dataset, {source.name for source in sources})
    if strays:
        yield SequenceReport('(other folders)', findings=strays)
    check = partial(
        check_sequence,
        needs_text=dataset.split != 'test',
        depth_only=depth_only,
        decode=decode,
    )
    with ThreadPoolExecutor(_THREADS) as pool:
        yield from pool.map(check, sources)


def _find_strays(dataset: MOTSequenceDataset, known: set[str]) -> list[Finding]:
    """Name the folders beside the sequences that are none."""
    base = os.path.join(dataset.data_root, dataset.split)
    if not os.path.isdir(base):
        return []
    return [
        Finding(NOTE, os.path.join(base, name), 'has no img1 folder; not used')
        for name in list_folders(base)
        if name not in known and not os.path.isdir(os.path.join(base, name, 'img1'))
    ]


def check_static_images(dataset: CrowdHumanClipDataset, decode: bool) -> SequenceReport:
    """Check a split of static images as if it were one sequence.

    Args:
        dataset: The split.
        decode: Decode every image completely.

    Returns:
        What was found.
    """
    report = SequenceReport(f'{dataset.NAME} {dataset.split}')
    try:
        sequences, remarks, files = dataset.read_sequences()
    except (OSError, ValueError) as error:
        report.findings.append(
            Finding(
                ERROR, find_image_folder(dataset.data_root, dataset.split), str(error)
            )
        )
        return report
    report.images = len(sequences)
    boxes = [0 if s.annotations is None else len(s.annotations.ids) for s in sequences]
    report.boxes = sum(boxes)
    report.identities = report.boxes
    sizes = set()
    for sequence, count in zip(sequences, boxes, strict=True):
        path = os.path.join(sequence.image_dir, str(sequence.image_names[0]))
        try:
            sizes.add(read_image_size(path))
            if decode:
                decode_exact(path)
        except OSError as error:
            report.findings.append(Finding(ERROR, path, str(error)))
        if not sequence.legal_frames[0]:
            message = f'{count} persons; training skips it'
            report.findings.append(Finding(NOTE, path, message))
    report.size = f'{len(sizes)} sizes'
    report.findings.extend(Finding(WARNING, files[0], remark) for remark in remarks)
    return report


def format_summary(reports: Sequence[SequenceReport]) -> str:
    """Make a table with a line for every sequence and the totals.

    Args:
        reports: What was found.

    Returns:
        The table.
    """
    header = (
        'sequence',
        'images',
        'size',
        'boxes',
        'ids',
        'depth',
        'errors',
        'warnings',
    )
    rows = [
        (
            report.name,
            str(report.images),
            report.size,
            '-' if report.boxes is None else str(report.boxes),
            '-' if report.identities is None else str(report.identities),
            str(report.depth_maps) if report.depth_maps else '-',
            str(report.count(ERROR)),
            str(report.count(WARNING)),
        )
        for report in reports
        if report.images or report.count(ERROR)
    ]
    total = (
        f'{len(rows)} sequences',
        str(sum(report.images for report in reports)),
        '',
        str(sum(report.boxes or 0 for report in reports)),
        '',
        str(sum(report.depth_maps for report in reports)),
        str(sum(report.count(ERROR) for report in reports)),
        str(sum(report.count(WARNING) for report in reports)),
    )
    table = [header, *rows, total]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    lines = [
        '  '.join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    rule = '-' * (sum(widths) + 2 * (len(widths) - 1))
    return '\n'.join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def run_checks(
    kind: str,
    data_root: str,
    splits: Sequence[str] | None = None,
    depth_only: bool = False,
    decode: bool = False,
    max_findings: int = 20,
) -> int:
    """Check splits of a data set and print the report.

    Args:
        kind: A key of ``KINDS``.
        data_root: The data set's folder.
        splits: Names of splits; None: all that are there.
        depth_only: Check depth maps only, and require them.
        decode: Decode every image completely.
        max_findings: Findings printed of each sequence; 0: all.

    Returns:
        Number of errors.
    """
    console = Console(stderr=True)
    errors = 0
    for split in splits or find_splits(kind, data_root):
        dataset = open_split(kind, data_root, split)
        number = 1 if kind == 'crowdhuman' else len(dataset.sources())
        reports = []
        title = f'{dataset.NAME} {split}'.strip()
        checks = check_split(dataset, depth_only, decode)
        for report in track(checks, title, number, console=console, transient=True):
            reports.append(report)
            _print_findings(report, max_findings)
        print(f'\n{title}\n{format_summary(reports)}\n')
        errors += sum(report.count(ERROR) for report in reports)
    print('no errors' if not errors else f'{errors} errors')
    return errors


def _print_findings(report: SequenceReport, max_findings: int) -> None:
    shown = report.findings[: max_findings or None]
    for finding in shown:
        print(finding)
    hidden = len(report.findings) - len(shown)
    if hidden:
        print(
            f'        {report.name}: {hidden} more findings, --max-findings 0 shows all'
        )


def add_check_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a check to a parser.

    Args:
        parser: The parser.
    """
    parser.add_argument(
        '--splits', nargs='+', help='splits; by default those that are there'
    )
    parser.add_argument(
        '--decode', action='store_true', help='check: decode every image completely'
    )
    parser.add_argument(
        '--max-findings',
        type=int,
        default=20,
        help='check: findings printed of each sequence, 0 for all (default: 20)',
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a data set.

    Args:
        arguments: Command line; by default that of the
            process.

    Returns:
        0 without errors, 1 with errors or nothing to check.
    """
    parser = argparse.ArgumentParser(
        prog='python -m mmfdta check-data',
        description='Check images, annotations and depth maps of a data set.',
    )
    parser.add_argument('kind', choices=sorted(KINDS), help='which data set it is')
    parser.add_argument('root', help='folder of the data set')
    add_check_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        errors = run_checks(
            options.kind,
            options.root,
            options.splits,
            decode=options.decode,
            max_findings=options.max_findings,
        )
    except (FileNotFoundError, ValueError) as error:
        print(f'mmfdta check-data: {error}', file=sys.stderr)
        return 1
    return 1 if errors else 0
