# Copyright (c) mmfdta authors.
"""MOTChallenge text: what is accepted, what is named, what survives a round trip."""

import numpy as np
import pytest

from mmfdta.structures.mot_text import read_mot_rows, scan_mot_rows, write_mot_rows


def _write(tmp_path, text, newline=None):
    path = tmp_path / 'gt.txt'
    with open(path, 'w', newline=newline) as file:
        file.write(text)
    return path


def test_reads_spaces_windows_ends_blank_lines_and_identity_zero(tmp_path):
    path = _write(
        tmp_path, '1, 0, 1.5, -2, 3, 4, 1, 1, 1\r\n\r\n2,7,5,6,7,8.25,1,1,0.5\r\n', ''
    )
    rows = read_mot_rows(path)
    np.testing.assert_array_equal(rows.frame, [1, 2])
    np.testing.assert_array_equal(rows.identity, [0, 7])
    np.testing.assert_array_equal(rows.xywh, [[1.5, -2, 3, 4], [5, 6, 7, 8.25]])
    np.testing.assert_array_equal(rows.visibility, [1, 0.5])
    np.testing.assert_array_equal(rows.line, [1, 3])


def test_byte_order_mark_and_missing_last_newline(tmp_path):
    path = tmp_path / 'gt.txt'
    path.write_bytes(b'\xef\xbb\xbf1,2,3,4,5,6')
    rows = read_mot_rows(path)
    assert rows.identity.tolist() == [2]
    assert rows.mark.tolist() == [1] and rows.category.tolist() == [-1]


def test_rows_of_different_length_are_read(tmp_path):
    rows = read_mot_rows(_write(tmp_path, '1,1,1,1,2,2,0.5\n1,2,1,1,2,2,1,7,0.25\n'))
    assert rows.mark.tolist() == [0.5, 1]
    assert rows.category.tolist() == [-1, 7]
    assert rows.visibility.tolist() == [-1, 0.25]


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        ('2,1,1,1,2', '5 columns'),
        ('2,x,1,1,2,2', "'x' for id"),
        ('2,1,nan,1,2,2', "'nan' for x"),
        ('2,1,1,1,inf,2', "'inf' for w"),
        ('2.5,1,1,1,2,2', "'2.5' for frame"),
        ('2,1.5,1,1,2,2', "'1.5' for id"),
        ('0,1,1,1,2,2', "frame '0'"),
        ('2 1 1 1 2 2', '1 columns'),
    ],
)
def test_bad_line_is_named(tmp_path, line, expected):
    path = _write(tmp_path, f'1,1,1,1,2,2\n\n{line}\n4,1,1,1,2,2\n')
    with pytest.raises(ValueError, match=f'gt.txt:3: .*{expected}'):
        read_mot_rows(path)
    rows, problems = scan_mot_rows(path)
    assert rows.frame.tolist() == [1, 4] and rows.line.tolist() == [1, 4]
    assert [p.line for p in problems] == [3]


def test_degenerate_boxes_are_skipped_and_listed(tmp_path):
    rows = read_mot_rows(
        _write(tmp_path, '1,1,0,0,2,2\n1,2,0,0,0,2\n2,1,0,0,2,2\n2,2,0,0,2,-1\n')
    )
    assert rows.line.tolist() == [1, 3]
    assert rows.degenerate_line.tolist() == [2, 4]
    assert rows.num_degenerate == 2


def test_duplicates_name_both_lines(tmp_path):
    path = _write(
        tmp_path, '1,5,0,0,2,2\n2,5,0,0,2,2\n1,6,0,0,2,2\n1,5,9,9,2,2\n1,5,8,8,2,2\n'
    )
    problems = read_mot_rows(path).duplicates()
    assert [p.line for p in problems] == [4, 5]
    assert all('first on line 1' in p.message for p in problems)
    with pytest.raises(ValueError, match=r'gt.txt:4: identity 5 .*1 more'):
        read_mot_rows(path, unique=True)


def test_empty_missing_and_binary_files(tmp_path):
    assert len(read_mot_rows(_write(tmp_path, '\n \n'))) == 0
    with pytest.raises(FileNotFoundError, match='absent.txt'):
        read_mot_rows(tmp_path / 'absent.txt')
    (tmp_path / 'gt.txt').write_bytes(b'1,1,1,1,1,1\n\xff\xfe\x00')
    with pytest.raises(ValueError, match='gt.txt:2: .*not UTF-8'):
        read_mot_rows(tmp_path / 'gt.txt')


def test_writes_the_challenge_columns(tmp_path):
    write_mot_rows(
        tmp_path / 'a.txt', [1], [3], [[1.25, 2, 3.125, 4]], [0.5], decimals=2
    )
    assert (tmp_path / 'a.txt').read_text() == '1,3,1.25,2,3.12,4,0.5,-1,-1,-1\n'


def test_refuses_to_write_nonsense(tmp_path):
    with pytest.raises(ValueError, match='2 frames, 1 identities'):
        write_mot_rows(tmp_path / 'a.txt', [1, 2], [3], [[1, 2, 3, 4]])
    with pytest.raises(ValueError, match='finite'):
        write_mot_rows(tmp_path / 'a.txt', [1], [3], [[1, 2, np.nan, 4]])
    assert not list(tmp_path.iterdir())
