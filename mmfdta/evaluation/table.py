# Copyright (c) mmfdta authors.
"""Scores as text: a table to read, CSV and JSON to keep."""

import json

import numpy as np

from mmfdta.structures.tables import csv_table, plain_table

from .hota import ALPHAS
from .scores import COUNTS, Evaluation, summarise

COMBINED = 'COMBINED'
_SHORT = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1', 'IDSW')
_ALL = (
    *('HOTA', 'DetA', 'AssA', 'DetRe', 'DetPr', 'AssRe', 'AssPr', 'LocA'),
    *('MOTA', 'MOTP', 'IDF1', 'IDP', 'IDR'),
    *('IDSW', 'CLR_FP', 'CLR_FN', 'Frag', 'MT', 'PT', 'ML'),
)
# Lines of sequences in a table of several classes; TAO has some 900,000.
_MOST_ROWS = 1000
# Names of the official evaluation for which another is usual.
USUAL_NAMES = {'CLR_TP': 'TP', 'CLR_FP': 'FP', 'CLR_FN': 'FN'}


def list_rows(evaluation: Evaluation) -> list[tuple[str, str, dict[str, float]]]:
    """List every scored thing.

    Returns:
        Class, sequence and one number for each score. The
        sequence is ``COMBINED`` for all; with several classes, the last rows
        are ``mean of classes`` and ``all detections``.
    """
    rows = []
    for name in evaluation.classes:
        rows += [
            (name, sequence, summarise(evaluation.of_sequence(sequence, name)))
            for sequence in evaluation.sequences
        ]
        rows.append((name, COMBINED, summarise(evaluation.of_class(name))))
    if len(evaluation.classes) > 1:
        over_classes = summarise(evaluation.over_classes())
        over_detections = summarise(evaluation.over_detections())
        rows.append(('mean of classes', COMBINED, over_classes))
        rows.append(('all detections', COMBINED, over_detections))
    return rows


def format_table(evaluation: Evaluation, all_columns: bool = False) -> str:
    """Write the scores as a table: a line for each sequence, rates in percent.

    Of many sequences in several classes there are the lines of the classes only, see
    :func:`shows_sequences`.

    Args:
        evaluation: The scores.
        all_columns: Show all usual scores, not only HOTA, DetA, AssA, MOTA, IDF1
            and IDSW.
    """
    rows = list_rows(evaluation)
    if not shows_sequences(evaluation):
        rows = [row for row in rows if row[1] == COMBINED]
    columns = [name for name in (_ALL if all_columns else _SHORT) if name in rows[0][2]]
    many = len(evaluation.classes) > 1
    return plain_table(
        ['sequence', *(USUAL_NAMES.get(name, name) for name in columns)],
        [
            [
                f'{name} / {sequence}' if many else sequence,
                *(_format_cell(column, scores[column]) for column in columns),
            ]
            for name, sequence, scores in rows
        ],
    )


def shows_sequences(evaluation: Evaluation) -> bool:
    """Tell whether a table has lines for sequences: they are few, or of one class."""
    classes, sequences = len(evaluation.classes), len(evaluation.sequences)
    return classes == 1 or classes * sequences <= _MOST_ROWS


def format_trackers(
    evaluations: dict[str, Evaluation], all_columns: bool = False
) -> str:
    """Write the scores of several trackers as a table: a line for each, over all.

    Args:
        evaluations: Scores by tracker.
        all_columns: As in :func:`format_table`, which then follows for each tracker.
    """
    rows = [
        (f'{tracker} / {name}' if len(evaluation.classes) > 1 else tracker, scores)
        for tracker, evaluation in evaluations.items()
        for name, sequence, scores in list_rows(evaluation)
        if sequence == COMBINED
    ]
    columns = [name for name in (_ALL if all_columns else _SHORT) if name in rows[0][1]]
    tables = [
        plain_table(
            ['tracker', *(USUAL_NAMES.get(name, name) for name in columns)],
            [
                [title, *(_format_cell(column, scores[column]) for column in columns)]
                for title, scores in rows
            ],
        )
    ]
    if all_columns:
        tables += [
            f'{tracker}\n{format_table(evaluation, all_columns)}'
            for tracker, evaluation in evaluations.items()
        ]
    return '\n\n'.join(tables)


def _format_cell(column: str, value: float) -> str:
    return f'{value:.0f}' if column in COUNTS else f'{100 * value:.3f}'


def format_csv(evaluation: Evaluation) -> str:
    """Write the rows of :func:`list_rows` as CSV, fractions in full precision."""
    rows = list_rows(evaluation)
    return csv_table(
        ['class', 'sequence', *rows[0][2]],
        [[name, sequence, *scores.values()] for name, sequence, scores in rows],
    )


def format_trackers_csv(evaluations: dict[str, Evaluation]) -> str:
    """Write :func:`format_csv` of several trackers, with a first column for them."""
    rows = [
        (tracker, *row)
        for tracker, evaluation in evaluations.items()
        for row in list_rows(evaluation)
    ]
    return csv_table(
        ['tracker', 'class', 'sequence', *rows[0][3]],
        [[*names, *scores.values()] for *names, scores in rows],
    )


def format_json(evaluation: Evaluation) -> str:
    """Write every score as JSON, with the curves over the thresholds ``alphas``."""
    return _dump(_document(evaluation))


def format_trackers_json(evaluations: dict[str, Evaluation]) -> str:
    """Write what :func:`format_json` does for several trackers, by their names."""
    documents = {
        name: _document(evaluation) for name, evaluation in evaluations.items()
    }
    return _dump({'trackers': documents})


def _document(evaluation: Evaluation) -> dict:
    classes = {
        name: {
            'sequences': {
                sequence: _plain(evaluation.of_sequence(sequence, name))
                for sequence in evaluation.sequences
            },
            COMBINED: _plain(evaluation.of_class(name)),
        }
        for name in evaluation.classes
    }
    document: dict = {'classes': classes}
    if len(classes) > 1:
        document['mean of classes'] = _plain(evaluation.over_classes())
        document['all detections'] = _plain(evaluation.over_detections())
    return document


def _dump(document: dict) -> str:
    return json.dumps({'alphas': ALPHAS.round(2).tolist()} | document, indent=1) + '\n'


def _plain(scores: dict) -> dict:
    """Turn arrays into their mean and, next to it, the curve."""
    plain = summarise(scores)
    curves = {n: v.tolist() for n, v in scores.items() if np.ndim(v)}
    return plain | {'curves': curves} if curves else plain
