# Copyright (c) mmfdta authors.
"""Write the tables and commands of docs/published_weights.md.

python docs/make_published_weights.py
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from mmfdta.apis.progress import say_bytes
from mmfdta.apis.weights import commands_of, not_published
from mmfdta.checkpoints.published import (
    PUBLISHED,
    TOLERANCE,
    PublishedScores,
    PublishedWeights,
)

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'published_weights.md'
METRICS = tuple(TOLERANCE)
COCO = """## COCO

Box AP of the detectors on the val split, over all 80 classes. `mmfdta test` scores \
tracks only. To compute box AP, run MMDetection's own tool with its own config: \
`mmfdta mmdet test MMDETECTION/configs/CONFIG.py $(mmfdta weights NAME)`.
"""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a Markdown table."""
    names = list(head)
    lines = [names, ['---'] * len(names), *rows]
    return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in lines) + '\n'


def link(address: str, text: str) -> str:
    """Link to a page; a file of the repository is named instead."""
    return f'[{text}]({address})' if '://' in address else f'`{address}`'


def score_row(weights: PublishedWeights, figure: PublishedScores, note: str) -> tuple:
    """Write the row of a figure."""
    scores = [str(figure.scores.get(metric, '')) for metric in METRICS]
    by = link(figure.server, 'server') if figure.server else '`mmfdta test`'
    page = link(figure.source, figure.origin)
    config = f'`{figure.config}`{note}'
    return f'`{weights.name}`', figure.split, config, *scores, page, by


def data_section(title: str) -> str:
    """Write the section of a data set: figures, remarks, commands."""
    rows: list[tuple] = []
    commands: list[str] = []
    remarks: dict[str, int] = {}
    for weights in PUBLISHED.values():
        for figure in weights.figures:
            if figure.data == title:
                note = ''
                if figure.remark:
                    number = remarks.setdefault(figure.remark, len(remarks) + 1)
                    note = f' ({number})'
                rows.append(score_row(weights, figure, note))
                commands += commands_of(weights, figure)
        for name in not_published(weights):
            if name.startswith(f'{title} '):
                split, empty = name.removeprefix(f'{title} '), [''] * len(METRICS)
                config = f'`{weights.configs[0]}`'
                first = f'`{weights.name}`', split, config
                rows.append((*first, *empty, 'not published', '`mmfdta test`'))
    head = ('weights', 'split', 'config', *METRICS, 'stated by', 'scored by')
    parts = [f'## {title}\n', table(head, rows)]
    parts += [f'({number}) {remark}.\n' for remark, number in remarks.items()]
    block = '\n'.join(['```shell', *dict.fromkeys(commands), '```\n'])
    return '\n'.join([*parts, block])


def detector_section() -> str:
    """Write the section of detectors that are scored on COCO."""
    rows = [
        (
            f'`{weights.name}`',
            str(figure.scores['box AP']),
            f'`{figure.config}`' if figure.config else "none: the authors' own code",
            link(figure.source, figure.origin),
        )
        for weights in PUBLISHED.values()
        for figure in weights.figures
        if figure.data == 'COCO'
    ]
    head = ('weights', 'box AP', "MMDetection's config", 'stated by')
    return f'{COCO}\n{table(head, rows)}'


def score_sections() -> str:
    """Write the sections of all data sets."""
    titles = [f.data for weights in PUBLISHED.values() for f in weights.figures]
    parts = [data_section(t) for t in dict.fromkeys(titles) if t != 'COCO']
    return '\n'.join([*parts, detector_section()])


def file_table() -> str:
    """Write the table of files: where each comes from, licence, size, hash."""
    rows = []
    for weights in PUBLISHED.values():
        name, licence = f'`{weights.name}`', weights.licence
        place = weights.address or weights.page
        more = len(weights.configs) - 1
        rows.append(
            (
                link(place, name) if place else name,
                weights.family,
                f'`{weights.configs[0]}`' + (f' +{more}' if more else ''),
                link(weights.source, licence) if place else licence,
                '' if weights.size is None else say_bytes(weights.size),
                f'`{weights.sha256_prefix}`' if weights.sha256_prefix else '',
            )
        )
    head = ('weights', 'family', 'config', 'licence', 'size', 'SHA-256 begins')
    return table(head, rows)


def tolerance_table() -> str:
    """Write the table of tolerances."""
    return table(METRICS, [[f'{TOLERANCE[metric]:g}' for metric in METRICS]])


def build_page() -> str:
    """Return the page with its tables and commands made again."""
    text = PAGE.read_text(encoding='utf-8')
    parts = dict(scores=score_sections, tolerance=tolerance_table, files=file_table)
    for name, make in parts.items():
        made, count = re.subn(
            rf'(<!-- begin {name}:[^\n]*-->\n).*?(<!-- end {name} -->)',
            lambda found, make=make: f'{found[1]}\n{make()}\n{found[2]}',
            text,
            flags=re.S,
        )
        assert count == 1, f'{PAGE}: expected the markers of {name} once'
        text = made
    return text


def main() -> int:
    """Write the page."""
    PAGE.write_text(build_page(), encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
