# Copyright (c) mmfdta authors.
"""Tables to read."""

from collections.abc import Sequence


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Write rows as a Markdown table with aligned columns.

    Args:
        rows (Sequence[Sequence[str]]): The head and at least one row, cells of
            text; all but the first column are set to the right.

    Returns:
        str: The table, one line a row.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(c.rjust(w) for c, w in rest)]
        return '| ' + ' | '.join(cells) + ' |'

    rule = '|'.join(['-' * (widths[0] + 2), *('-' * (w + 1) + ':' for w in widths[1:])])
    return '\n'.join([line(rows[0]), f'|{rule}|', *map(line, rows[1:])]) + '\n'
