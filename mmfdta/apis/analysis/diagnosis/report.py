# Copyright (c) mmfdta authors.
"""The diagnosis as a page to read, a few lines to print, figures, and JSON to keep.

Page, lines and figures are made of what the JSON file holds, so that an earlier
diagnosis can stand beside a new one.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from mmfdta.structures.tables import markdown_table
from mmfdta.structures.whole_files import write_text
from mmfdta.version import __version__
from mmfdta.visualization import (
    EffectPanel,
    plot_effects,
    plot_scores,
    save_figure,
)

from ...evaluation_data import EvaluationData
from ...thresholds import MEANINGS
from .bounds import BOUNDS

#: Of the JSON file; another number is another meaning of its keys.
FORMAT = 1
JSON_NAME, PAGE_NAME = 'diagnosis.json', 'diagnosis.md'
# A gain in HOTA that is worth a line, a fraction of 1.
_WORTH = 0.003
_SHOWN = ('HOTA', 'DetA', 'AssA', 'IDF1')


# ---------------------------------------------------------------------- in a few lines
def describe_run(content: Mapping) -> str:
    """Say in a line what was looked at."""
    checkpoint = content['checkpoint']
    weights = 'random weights' if checkpoint is None else Path(checkpoint).name
    return f'{content["config"]} ({weights}) on {content["data"]["text"]}'


def describe_bounds(content: Mapping) -> str:
    """Say what keeps HOTA down: identities, the choice of boxes, or the boxes."""
    scores = content['bounds']['scores']
    own = scores['tracker']['HOTA']
    parts = [f'HOTA {100 * own:.1f}, {scores["tracker"]["IDSW"]} identity switches.']
    gains = {}
    for key, text in (
        ('true_identities', 'With right identities on its own boxes'),
        ('true_boxes', 'with ground-truth boxes and its own association'),
    ):
        if key in scores:
            gains[key] = scores[key]['HOTA'] - own
            parts.append(f'{text} HOTA {100 * scores[key]["HOTA"]:.1f}')
    said = ', '.join(parts[1:])
    if len(gains) == 2:
        identities, boxes = gains.values()
        more = max(abs(identities), abs(boxes), 1e-9)
        if abs(identities - boxes) < 0.1 * more:
            said += ': identities and boxes cost about the same'
        elif identities > boxes:
            said += ': wrong identities cost more than bad boxes'
        else:
            said += ': bad boxes cost more than wrong identities'
    return f'{parts[0]} {said}.'


def list_gains(content: Mapping) -> list[str]:
    """List the thresholds whose other values score clearly better here."""
    thresholds = content['thresholds'] or {}
    better = [
        (effect['gain'], name, effect)
        for name, effect in thresholds.items()
        if effect['gain'] >= _WORTH
    ]
    lines = []
    for gain, name, effect in sorted(better, key=lambda entry: -entry[0]):
        options = ' '.join(
            f'{key}={str(value).replace(" ", "")}'
            for key, value in effect['options'].items()
        )
        lines.append(
            f'{name} {effect["value"]:g} -> {effect["best"]:g}: HOTA {100 * gain:+.1f} '
            f'on these data (--cfg-options {options})'
        )
    return lines


# ------------------------------------------------------------------------- the content
def make_content(
    config: str,
    checkpoint: str | None,
    model: nn.Module,
    data: EvaluationData,
    parts: Mapping[str, Any],
) -> dict[str, Any]:
    """Put the parts of a diagnosis together with what was looked at.

    Args:
        config: Name of the config.
        checkpoint: Path, address or name of the weights; None: as initialised, or
            those that the config names.
        model: The tracker.
        data: The data.
        parts: See :meth:`Diagnosis.run`.
    """
    tracker = getattr(model, 'tracker', None)
    return dict(
        format=FORMAT,
        mmfdta=__version__,
        config=config,
        checkpoint=checkpoint,
        model=type(model).__name__,
        tracker=type(tracker).__name__,
        data=dict(
            text=data.describe(),
            benchmark=data.benchmark,
            sequences={s.name: len(s) for s in data.sequences},
            boxes=sum(map(len, data.scored)),
            objects=sum(len(np.unique(truth.identity)) for truth in data.scored),
        ),
        **parts,
    )


def read_content(path: Path) -> dict[str, Any]:
    """Read the JSON file of an earlier diagnosis.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no such file, or of another version.
    """
    if path.is_dir():
        path = path / JSON_NAME
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(
            f'{path}: expected the {JSON_NAME} of mmfdta diagnose, found no JSON '
            f'({error})'
        ) from None
    found = content.get('format') if isinstance(content, dict) else None
    if found != FORMAT or 'bounds' not in content:
        raise ValueError(
            f'{path}: expected the {JSON_NAME} of mmfdta diagnose with format '
            f'{FORMAT}, found format {found}; run that diagnosis again'
        )
    return content


def check_comparable(content: Mapping, others: Sequence[Mapping]) -> None:
    """Refuse to compare diagnoses of different data.

    Raises:
        ValueError: If sequences, boxes or rules differ.
    """
    for other in others:
        for key, what in (
            ('benchmark', 'rules of'),
            ('sequences', 'the sequences'),
            ('boxes', 'ground-truth boxes'),
        ):
            mine, theirs = content['data'][key], other['data'][key]
            if mine != theirs:
                if key == 'sequences':
                    mine, theirs = (
                        f'{len(x)} of {sum(x.values())} frames' for x in (mine, theirs)
                    )
                raise ValueError(
                    f'--compare: {describe_run(other)} has {what} {theirs}, expected '
                    f'{mine}, those of this run; diagnose both on the same data'
                )


# ---------------------------------------------------------------------------- the page
def bounds_section(content: Mapping) -> str:
    """What each part of the tracker costs."""
    scores = content['bounds']['scores']
    own = scores['tracker']['HOTA']
    rows = []
    for key, of in scores.items():
        numbers = [f'{100 * of[name]:.1f}' for name in _SHOWN]
        gain = '' if key == 'tracker' else f'{100 * (of["HOTA"] - own):+.1f}'
        rows.append((BOUNDS[key].title, *numbers, of['IDSW'], gain))
    table = markdown_table(('', *_SHOWN, 'IDSW', 'HOTA gained'), rows)
    meanings = [f'- {BOUNDS[k].title}: {BOUNDS[k].text}.' for k in scores]
    left = content['bounds']['without_embedding']
    if left:
        share = left / max(1, content['bounds']['objects'])
        meanings.append(
            f'- No detection overlaps {left} of {content["bounds"]["objects"]} boxes '
            f'({share:.1%}); the last line lacks them.'
        )
    picture = '![HOTA, DetA and AssA of the tracker and its bounds](bounds.png)'
    return _join('## What each part costs', table, '\n'.join(meanings[1:]), picture)


def thresholds_section(content: Mapping) -> str:
    """What each threshold does."""
    thresholds = content['thresholds']
    if not thresholds:
        return ''
    rows = []
    for name, effect in thresholds.items():
        tried = effect['trials']
        values = [trial['HOTA'] for trial in tried]
        switches = [trial['IDSW'] for trial in tried]
        rows.append(
            (
                f'`{name}`',
                MEANINGS[name],
                f'{effect["value"]:g}',
                f'{tried[0]["value"]:g} to {tried[-1]["value"]:g}',
                f'{100 * min(values):.1f} to {100 * max(values):.1f}',
                f'{min(switches)} to {max(switches)}',
                f'{effect["best"]:g}',
                f'{100 * effect["gain"]:+.1f}',
            )
        )
    head = ('threshold', 'what it is', 'now', 'tried', 'HOTA', 'IDSW', 'best', 'gained')
    text = (
        'One threshold at a time, all others as they are. Take a better value only if '
        'it is one on data that you do not report; `mmfdta tune` searches further.'
    )
    picture = '![HOTA and identity switches over each threshold](thresholds.png)'
    return _join('## Thresholds', markdown_table(head, rows), text, picture)


def format_page(content: Mapping, others: Sequence[Mapping] = ()) -> str:
    """Write the page, in Markdown.

    Args:
        content: The diagnosis.
        others: Earlier ones on the same data, which stand beside it in a table.
    """
    title = f'# Why identities switch: {content["config"]}'
    made = (
        f'{describe_run(content)}. Made by `mmfdta diagnose` {content["mmfdta"]}; '
        'docs/diagnose.md says how to read it.'
    )
    sections = [
        verdict_section(content),
        compare_section(content, others),
        bounds_section(content),
        thresholds_section(content),
    ]
    return _join(title, made, *sections) + '\n'


def verdict_section(content: Mapping) -> str:
    """The page in short."""
    return _join(
        '## In short', describe_bounds(content), '\n'.join(list_gains(content))
    )


def compare_section(content: Mapping, others: Sequence[Mapping]) -> str:
    """This run and others in one table."""
    if not others:
        return ''
    runs = [content, *others]
    head = ['', *name_runs(runs)]
    rows = [
        (label, *(_cell(run, read) for run in runs)) for label, read in _compared(runs)
    ]
    return _join('## Beside other runs', markdown_table(head, rows))


def name_runs(runs: Sequence[Mapping]) -> list[str]:
    """Name runs by their weights; with the config where that tells nothing apart."""
    names = [Path(run['checkpoint'] or run['config']).stem for run in runs]
    if len(set(names)) < len(names):
        names = [
            f'{run["config"]}: {name}' for run, name in zip(runs, names, strict=True)
        ]
    if len(set(names)) < len(names):
        names = [f'{number}. {name}' for number, name in enumerate(names, start=1)]
    return names


def _cell(run: Mapping, read: Callable[[Mapping], str]) -> str:
    """What a run has in a row; a dash where it lacks that part."""
    try:
        return read(run)
    except (KeyError, TypeError):
        return '-'


def _compared(runs: Sequence[Mapping]) -> list[tuple[str, Callable[[Mapping], str]]]:
    """Rows of the table of runs: what they are called, and how they are read."""

    def percent(*path: str) -> Callable[[Mapping], str]:
        return lambda run: f'{100 * _at(run, *path):.1f}'

    own = [(name, percent('bounds', 'scores', 'tracker', name)) for name in _SHOWN]
    bounds = [
        (f'HOTA, {BOUNDS[key].title}', percent('bounds', 'scores', key, 'HOTA'))
        for key in BOUNDS
        if key != 'tracker'
    ]
    return [*own, *bounds]


def _at(content: Mapping, *path: str) -> Any:
    for key in path:
        content = content[key]
    return content


def _join(*parts: str) -> str:
    return '\n\n'.join(part.rstrip('\n') for part in parts if part)


# --------------------------------------------------------------------------- the files
def format_verdict(content: Mapping, others: Sequence[Mapping] = ()) -> str:
    """Write what is printed: what was found, in a few lines."""
    lines = [describe_run(content), describe_bounds(content), *list_gains(content)]
    table = compare_section(content, others)
    return '\n'.join([*lines, *([table.partition('\n\n')[2]] if table else [])])


def write_report(
    content: Mapping, others: Sequence[Mapping], folder: Path
) -> list[Path]:
    """Write the page, its figures and the JSON file.

    Args:
        content: The diagnosis.
        others: Earlier ones on the same data, see :func:`check_comparable`.
        folder: Where the files go.

    Returns:
        The files, the page first.

    Raises:
        OSError: If one cannot be written.
    """
    page, kept = folder / PAGE_NAME, folder / JSON_NAME
    write_text(kept, json.dumps(content, indent=1) + '\n')
    figures = save_figures(content, folder)
    write_text(page, format_page(content, others))
    return [page, kept, *figures]


# ------------------------------------------------------------------------- the figures
def save_figures(content: Mapping, folder: Path) -> list[Path]:
    """Draw what the page shows.

    Args:
        content: The diagnosis.
        folder: Where the files go.

    Returns:
        The files.
    """
    scores = content['bounds']['scores']
    by_title = {BOUNDS[key].title: of for key, of in scores.items()}
    files = [save_figure(plot_scores(by_title, _SHOWN[:3]), folder / 'bounds.png')]
    if content['thresholds']:
        panels = [
            EffectPanel(
                title=name,
                values=np.array([trial['value'] for trial in effect['trials']]),
                hota=np.array([trial['HOTA'] for trial in effect['trials']]),
                switches=np.array([trial['IDSW'] for trial in effect['trials']]),
                present=effect['value'],
            )
            for name, effect in content['thresholds'].items()
        ]
        files.append(save_figure(plot_effects(panels), folder / 'thresholds.png'))
    return files
