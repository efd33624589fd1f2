# Copyright (c) mmfdta authors.
"""Any text: the rows of a plain reading, or an error with file and line."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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
    """The numbers of a line by the rules of the format, None if it is bad."""
    cells = [cell.strip() for cell in line.split(',')]
    digits = set('0123456789+-.eEinfatyINFATY')
    try:
        if not all(set(cell) <= digits for cell in cells):
            return None
        values = [float(cell) for cell in cells]
    except ValueError:
        return None
    good = len(values) >= 6 and all(map(math.isfinite, values[:7]))
    good = good and all(v == int(v) and abs(v) < 2**53 for v in values[:2])
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
