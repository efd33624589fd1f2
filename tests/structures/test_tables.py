# Copyright (c) mmfdta authors.
"""One head and rows as plain text, Markdown and CSV."""

import csv
import io

import pytest

from mmfdta.structures.tables import csv_table, markdown_table, plain_table

HEAD = 'sequence', 'HOTA'
ROWS = [('a', 1.5), ('longer name', '20.125')]


def test_plain():
    assert plain_table(HEAD, ROWS).split('\n') == [
        'sequence       HOTA',
        'a               1.5',
        'longer name  20.125',
    ]
    assert plain_table(['only'], []) == 'only'
    assert plain_table(HEAD, [('a', '')]) == 'sequence  HOTA\na'


def test_markdown():
    assert markdown_table(HEAD, ROWS).split('\n') == [
        '| sequence    |   HOTA |',
        '|-------------|-------:|',
        '| a           |    1.5 |',
        '| longer name | 20.125 |',
        '',
    ]


def test_csv_reads_back():
    rows = [('a, "b"', 0.1 + 0.2), ('c\nd', None)]
    text = csv_table(HEAD, rows)
    assert list(csv.reader(io.StringIO(text))) == [
        [*HEAD],
        ['a, "b"', repr(0.1 + 0.2)],
        ['c\nd', ''],
    ]
    assert '\r' not in text


def test_rows_of_another_length_are_refused():
    with pytest.raises(ValueError, match='zip'):
        plain_table(HEAD, [('a',)])
