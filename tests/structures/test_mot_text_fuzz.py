# Copyright (c) mmfdta authors.
"""Any text: the rows of a plain or of the official reading, or an error by line."""

import contextlib
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from trackeval.datasets import MotChallenge2DBox
from trackeval.utils import TrackEvalException

from mmfdta.structures.mot_text import read_tracks, scan_mot_text, write_tracks
from mmfdta.structures.tracks import Tracks

WHOLE = st.integers(-3, 40).map(str)
NUMBER = st.one_of(
    WHOLE,
    st.floats(-1e4, 1e4, width=32).map(repr),
    st.sampled_from(['1e2', '+5', '.5', '7.', '1E+1', '0', '-0']),
)
STRANGE = st.sampled_from(
    ['', ' ', 'x', 'nan', 'inf', '-inf', '1e400', '0x1', '1_0', '٣', '１', '#1', '"1"']
    + ['1e30', '-1e30', '9223372036854775808', '99999999999999999999', '1 2', 'None']
)
SPACE = st.sampled_from(['', ' ', '  ', '\t'])
END = st.sampled_from(['\n', '\r\n'])


@st.composite
def lines(draw) -> str:
    """A line of 1 to 12 cells; most are good."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.text(max_size=12).filter(lambda t: not set(t) & set('\r\n')))
    count = draw(st.sampled_from([10, 9, 9, 9, 7, 6, 6, 5, 1, 12]))
    cells = [draw(WHOLE if i < 2 else NUMBER) for i in range(count)]
    if draw(st.integers(0, 4)) == 0:
        cells[draw(st.integers(0, count - 1))] = draw(STRANGE)
    return ','.join(draw(SPACE) + cell + draw(SPACE) for cell in cells)


@st.composite
def texts(draw) -> str:
    rows = draw(st.lists(lines(), max_size=8))
    return ''.join(row + draw(END) for row in rows)


def plain_row(line: str) -> list[float] | None:
    """The numbers of a line with commas by the rules of the format, None if bad."""
    cells = [cell.strip() for cell in line.split(',')]
    cells = cells[:-1] if cells[-1] in ('', '""') else cells
    cells = [re.sub('^"(.*)"$', r'\1', cell) for cell in cells]
    digits = set('0123456789+-.eEinfatyINFATY')
    try:
        if not all(set(cell) <= digits for cell in cells):
            return None
        values = [float(cell) for cell in cells]
    except ValueError:
        return None
    good = len(values) >= 6 and all(map(math.isfinite, values[:7]))
    good = good and all(v == int(v) and abs(v) < 2**53 for v in values[:2])
    good = good and (len(values) <= 10 or (len(values) == 12 and '.' in line))
    return values if good and values[0] >= 1 else None


@pytest.fixture(scope='module')
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('text') / 'gt.txt'


@given(content=texts())
@example('1,1e30,1,1,2,2\n')
@example('1e30,1,1,1,2,2\n')
@example('1,9223372036854775808,1,1,2,2\n')
@example('1_0,1,1,1,2,2\n')
@example('1,٣,1,1,2,2\n')
@example('1,1,1,1,2,2,0.5\n1,2,1,1,2,2\n')
@example('1,1,1,1,2,2\x0c\n2,1,1,1,2,2\x1c3,1,1,1,2,2\n')
def test_reading_is_strict_and_complete(path: Path, content: str):
    path.write_bytes(content.encode('utf-8', 'surrogatepass'))
    expected, bad = [], []
    for number, line in enumerate(content.split('\n'), 1):
        if not line.strip():
            continue
        row = plain_row(line)
        (bad if row is None else expected).append((number, row))
    if '.' not in content and len({len(row) for _, row in expected}) > 1:
        # Decimal commas, where a row has something else than a flag in column 7.
        odd = [pair for pair in expected if (pair[1] + [1])[6] not in (-1, 0, 1)]
        bad = sorted(bad + odd, key=lambda pair: pair[0])
        expected = [pair for pair in expected if pair not in odd]
    try:
        text = scan_mot_text(path)
    except ValueError as error:  # no text at all
        assert 'not UTF-8' in str(error) and str(path) in str(error)
        return
    assert [problem.line for problem in text.problems] == [number for number, _ in bad]
    flat = [number for number, row in expected if row[4] <= 0 or row[5] <= 0]
    assert text.line[text.degenerate].tolist() == flat
    assert text.line.tolist() == [number for number, _ in expected]
    tracks = text.tracks
    assert tracks.frame.tolist() == [row[0] for _, row in expected]
    assert tracks.identity.tolist() == [row[1] for _, row in expected]
    assert tracks.xywh.tolist() == [row[2:6] for _, row in expected]
    assert tracks.score.tolist() == [(row + [1.0])[6] for _, row in expected]
    if bad:
        with pytest.raises(ValueError, match=f'gt.txt:{bad[0][0]}: '):
            read_tracks(path)


SEPARATORS = {
    'comma': (',', ['', ' ', '\t', '  '], ['', ',', ' ', ', ']),
    'tab': ('\t', ['', ' '], ['', '\t', ' ']),
    'semicolon': (';', ['', ' ', '\t'], ['', ';', '; ']),
    'space': (' ', ['', ' ', '   '], ['', ' ', '  ']),
    'colon': (':', ['', ' '], ['', ':']),
}


@st.composite
def dialects(draw) -> tuple[list[list[str]], str]:
    """Cells of good rows of one length, and the text that a dialect makes of them."""
    separator, spaces, ends = SEPARATORS[draw(st.sampled_from(sorted(SEPARATORS)))]
    quote = draw(st.sampled_from(['', '', '"', "'"]))
    count = draw(st.sampled_from([6, 7, 8, 9, 10, 10]))
    end, newline = draw(st.sampled_from(ends)), draw(END)
    frame, identity = st.integers(1, 40).map(str), st.integers(-3, 40).map(str)
    cells = [
        [draw(frame), draw(identity), *(draw(NUMBER) for _ in range(count - 2))]
        for _ in range(draw(st.integers(1, 6)))
    ]
    text = ''
    for row in cells:
        in_quotes = quote and draw(st.booleans())
        shown = [f'{quote}{cell}{quote}' if in_quotes else cell for cell in row]
        first, *others = shown
        text += first
        text += ''.join(separator + draw(st.sampled_from(spaces)) + c for c in others)
        text += end + newline
    return cells, text if draw(st.booleans()) else text.removesuffix(newline)


@given(drawn=dialects())
def test_dialects_give_their_numbers(path: Path, drawn: tuple[list[list[str]], str]):
    cells, content = drawn
    path.write_bytes(content.encode())
    text = scan_mot_text(path)
    assert text.problems == ()
    expected = np.array(cells, dtype=float)
    np.testing.assert_array_equal(text.tracks.frame, expected[:, 0])
    np.testing.assert_array_equal(text.tracks.identity, expected[:, 1])
    np.testing.assert_array_equal(text.tracks.xywh, expected[:, 2:6])
    assert text.num_columns == expected.shape[1]
    if not set(content) & set('\'"\t:'):  # what the official reader surely reads
        assert official_rows(path) is not None


def official_rows(path: Path) -> list[list[float]] | None:
    """What trackeval reads, frame by frame; None if it refuses the file."""
    with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
        try:
            by_frame, _ = MotChallenge2DBox._load_simple_text_file(str(path))
            arrays = [np.asarray(rows, dtype=float) for rows in by_frame.values()]
        except (TrackEvalException, ValueError):
            return None
    return [row for rows in arrays for row in rows.tolist()]


CELLS = st.one_of(WHOLE, NUMBER, st.sampled_from(['54,08', '08', '"1"', "'2.5'", '']))
JOINTS = [',', ', ', ' ', '  ', '\t', ';', '; ', ':', '|', ' ,', ',\t', ',,']


@st.composite
def soups(draw) -> str:
    """Lines of any cells and separators; within a text most are alike."""
    usual, text = draw(st.sampled_from(JOINTS)), ''
    for _ in range(draw(st.integers(1, 4))):
        joint = usual if draw(st.integers(0, 5)) else draw(st.sampled_from(JOINTS))
        count = draw(st.sampled_from([6, 7, 9, 10, 10, 11, 14]))
        whole = [draw(st.integers(1, 9).map(str)) for _ in range(2)]
        text += joint.join([*whole, *(draw(CELLS) for _ in range(count - 2))])
        text += draw(st.sampled_from(['', '', usual, ' '])) + draw(END)
    return text


@given(content=soups())
def test_what_the_official_reader_reads_is_read_alike(path: Path, content: str):
    path.write_bytes(content.encode())
    official = official_rows(path)
    text = scan_mot_text(path)
    if official is None or text.problems:
        return
    tracks = text.tracks.in_frame_order()
    ours = np.column_stack([tracks.frame, tracks.identity, tracks.xywh])
    theirs = np.array(sorted((row[:6] for row in official), key=lambda row: row[0]))
    np.testing.assert_array_equal(ours, theirs)


@given(content=soups())
def test_what_is_refused_is_no_number_or_looks_like_decimal_commas(
    path: Path, content: str
):
    """A text that the official reader takes is refused for a reason only."""
    path.write_bytes(content.encode())
    official, text = official_rows(path), scan_mot_text(path)
    if official is None or not text.problems:
        return
    problem = text.problems[0]
    message, line = problem.message, content.splitlines()[problem.line - 1]
    count = max(map(len, official))
    if 'decimal commas?' in message:
        assert '.' not in line or count > 10
    elif 'columns' in message:
        assert count > 10 or min(map(len, official)) < 6
    else:
        assert 'expected a finite' in message or 'expected a whole' in message


@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_by_name(path: Path, data: bytes):
    path.write_bytes(data)
    try:
        tracks = read_tracks(path)
    except ValueError as error:
        assert f'{path}:' in str(error)
    else:
        assert np.isfinite(tracks.xywh).all() and (tracks.frame >= 1).all()


ROW = st.tuples(
    *(st.integers(1, 10**6), st.integers(0, 2**53 - 1)),
    *(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5)),
    *(st.floats(2**-10, 1e5), st.floats(2**-10, 1e5)),
    st.floats(0, 1),
)


@given(table=st.lists(ROW, max_size=20), decimals=st.sampled_from([None, 3]))
def test_what_is_written_is_read_again(path: Path, table: list, decimals: int | None):
    columns = list(zip(*table, strict=True)) if table else [()] * 7
    frame, identity = (np.array(column, dtype=np.int64) for column in columns[:2])
    xywh = np.array(columns[2:6], dtype=np.float64).T.reshape(-1, 4)
    score = np.array(columns[6], dtype=np.float64)
    write_tracks(path, Tracks.create(frame, identity, xywh, score), decimals)
    back = read_tracks(path)
    tolerance = 0 if decimals is None else 5.001e-4
    np.testing.assert_array_equal(back.frame, frame)
    np.testing.assert_array_equal(back.identity, identity)
    np.testing.assert_allclose(back.xywh, xywh, rtol=0, atol=tolerance)
    np.testing.assert_allclose(back.score, score, rtol=0, atol=tolerance)
