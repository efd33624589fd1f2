# Copyright (c) mmfdta authors.
"""Tables as plain text, Markdown and CSV.

A table has column titles and rows with one cell per column; cells are written with
``str``.
"""

import csv
import io
from collections.abc import Iterable, Sequence


def plain_table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Format a table as text, all columns except the first aligned to the right.

    There is no line end after the last line.

    Raises:
        ValueError: If a row has another number of cells than there are columns.
    """
    lines, widths = _measure(head, rows)
    return '\n'.join('  '.join(_align(line, widths)).rstrip() for line in lines)


def markdown_table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Format a Markdown table, all columns except the first aligned to the right.

    Raises:
        ValueError: If a row has another number of cells than there are columns.
    """
    lines, widths = _measure(head, rows)
    title, *body = ['| ' + ' | '.join(_align(line, widths)) + ' |' for line in lines]
    rule = '|'.join(['-' * (widths[0] + 2), *('-' * (w + 1) + ':' for w in widths[1:])])
    return '\n'.join([title, f'|{rule}|', *body]) + '\n'


def csv_table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Format CSV with Unix line ends, full precision, and empty cells for None."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def _measure(
    head: Sequence[object], rows: Iterable[Sequence[object]]
) -> tuple[list[list[str]], list[int]]:
    """Return all cells as text, titles first, and the widths of the columns."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    columns = zip(*lines, strict=True)
    return lines, [max(len(cell) for cell in column) for column in columns]


def _align(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if i else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
