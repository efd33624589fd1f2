# Copyright (c) mmfdta authors.
"""Scores as text: a table to read, CSV and JSON to keep."""

import csv
import io
import json

import numpy as np

from .hota import ALPHAS
from .scores import Evaluation, summarise

COMBINED = 'COMBINED'
_COLUMNS = (
    *('HOTA', 'DetA', 'AssA', 'DetRe', 'DetPr', 'AssRe', 'AssPr', 'LocA'),
    *('MOTA', 'MOTP', 'IDF1', 'IDP', 'IDR'),
    *('IDSW', 'CLR_FP', 'CLR_FN', 'Frag', 'MT', 'PT', 'ML'),
)
_WHOLE = frozenset(('IDSW', 'CLR_FP', 'CLR_FN', 'Frag', 'MT', 'PT', 'ML'))
_HEADERS = {'CLR_FP': 'FP', 'CLR_FN': 'FN'}


def list_rows(evaluation: Evaluation) -> list[tuple[str, str, dict[str, float]]]:
    """List every scored thing.

    Args:
        evaluation (Evaluation): The scores.

    Returns:
        list[tuple]: Class, sequence and one number for each score. The
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


def format_table(evaluation: Evaluation) -> str:
    """Write the scores as a table, rates in percent.

    Args:
        evaluation (Evaluation): The scores.

    Returns:
        str: One line for each sequence and one for all, ready to print.
    """
    rows = list_rows(evaluation)
    columns = [name for name in _COLUMNS if name in rows[0][2]]
    many = len(evaluation.classes) > 1
    lines = [['sequence', *(_HEADERS.get(name, name) for name in columns)]]
    for name, sequence, scores in rows:
        title = f'{name} / {sequence}' if many else sequence
        lines.append([title, *(_format_cell(c, scores[c]) for c in columns)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return '\n'.join(
        '  '.join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _format_cell(column: str, value: float) -> str:
    return f'{value:.0f}' if column in _WHOLE else f'{100 * value:.3f}'


def format_csv(evaluation: Evaluation) -> str:
    """Write every score as CSV, fractions in full precision.

    Args:
        evaluation (Evaluation): The scores.

    Returns:
        str: A header and one line for each row of :func:`list_rows`.
    """
    rows = list_rows(evaluation)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['class', 'sequence', *rows[0][2]])
    for name, sequence, scores in rows:
        writer.writerow([name, sequence, *scores.values()])
    return text.getvalue()


def format_json(evaluation: Evaluation) -> str:
    """Write every score as JSON, with the curves over the thresholds.

    Args:
        evaluation (Evaluation): The scores.

    Returns:
        str: ``alphas`` and, by class, ``sequences`` and ``COMBINED``.
    """
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
    document = {'alphas': ALPHAS.round(2).tolist(), 'classes': classes}
    if len(classes) > 1:
        document['mean of classes'] = _plain(evaluation.over_classes())
        document['all detections'] = _plain(evaluation.over_detections())
    return json.dumps(document, indent=1) + '\n'


def _plain(scores: dict) -> dict:
    """Turn arrays into their mean and, beside it, the curve."""
    plain = summarise(scores)
    curves = {n: v.tolist() for n, v in scores.items() if np.ndim(v)}
    return plain | {'curves': curves} if curves else plain
