# Copyright (c) mmfdta authors.
"""MOTChallenge text: what is accepted, what is named, what survives a round trip."""

import numpy as np
import pytest

from mmfdta.structures.mot_text import read_tracks, scan_mot_text, write_tracks
from mmfdta.structures.tracks import Tracks


def _write(tmp_path, text, newline=None):
    path = tmp_path / 'gt.txt'
    with open(path, 'w', newline=newline) as file:
        file.write(text)
    return path


def test_reads_spaces_windows_ends_blank_lines_and_identity_zero(tmp_path):
    path = _write(
        tmp_path, '1, 0, 1.5, -2, 3, 4, 1, 1, 1\r\n\r\n2,7,5,6,7,8.25,1,1,0.5\r\n', ''
    )
    text = scan_mot_text(path)
    text.require(unique=True, num_frames=2)
    rows = text.tracks
    np.testing.assert_array_equal(rows.frame, [1, 2])
    np.testing.assert_array_equal(rows.identity, [0, 7])
    np.testing.assert_array_equal(rows.xywh, [[1.5, -2, 3, 4], [5, 6, 7, 8.25]])
    np.testing.assert_array_equal(text.visibility, [1, 0.5])
    np.testing.assert_array_equal(text.line, [1, 3])


def test_byte_order_mark_and_missing_last_newline(tmp_path):
    path = tmp_path / 'gt.txt'
    path.write_bytes(b'\xef\xbb\xbf1,2,3,4,5,6')
    rows = read_tracks(path)
    assert rows.identity.tolist() == [2]
    assert rows.score.tolist() == [1] and rows.label.tolist() == [-1]


def test_rows_of_different_length_are_read(tmp_path):
    path = _write(tmp_path, '1,1,1,1,2,2,0.5\n1,2,1,1,2,2,1,7,0.25\n')
    text = scan_mot_text(path)
    rows = text.tracks
    assert rows.score.tolist() == [0.5, 1]
    assert rows.label.tolist() == [-1, 7]
    assert text.visibility.tolist() == [-1, 0.25]


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
        ('2 1 1 1 2 2', 'separated by spaces, expected commas'),
        ('frame,id,x,y,w,h', 'a line without numbers'),
        ('# 1', 'columns'),
    ],
)
def test_bad_line_is_named(tmp_path, line, expected):
    path = _write(tmp_path, f'1,1,1,1,2,2\n\n{line}\n4,1,1,1,2,2\n')
    with pytest.raises(ValueError, match=f'gt.txt:3: .*{expected}'):
        read_tracks(path)
    text = scan_mot_text(path)
    assert text.tracks.frame.tolist() == [1, 4] and text.line.tolist() == [1, 4]
    assert [p.line for p in text.problems] == [3]


@pytest.mark.parametrize('columns', [6, 7, 8, 9])
def test_a_text_that_is_broken_off_is_refused(tmp_path, columns):
    path = tmp_path / 'results.txt'
    row = '1,2,10.5,20,30,40,0.9,1,1,-1'
    path.write_text(f'{row}\n3,{row[2:]}\n' + ','.join(row.split(',')[:columns]))
    scanned = scan_mot_text(path)
    assert len(scanned) == 2
    with pytest.raises(
        ValueError, match=rf'txt:3: found {columns} columns .* expected 10 .*broken off'
    ):
        scanned.require()
    # With a line end, somebody has written it so.
    path.write_text(path.read_text() + '\n')
    scan_mot_text(path).require()


def test_degenerate_boxes_stay_and_are_flagged(tmp_path):
    path = _write(tmp_path, '1,1,0,0,2,2\n1,2,0,0,0,2\n2,1,0,0,2,2\n2,2,0,0,2,-1\n')
    text = scan_mot_text(path)
    assert text.line.tolist() == [1, 2, 3, 4]
    assert text.degenerate.tolist() == [False, True, False, True]
    kept = text.select(~text.degenerate)
    assert kept.line.tolist() == [1, 3] and kept.tracks.frame.tolist() == [1, 2]
    assert read_tracks(path).xywh[3].tolist() == [0, 0, 2, -1]


@pytest.mark.parametrize(
    ('content', 'line', 'expected'),
    [
        ('1,1,54,08,54,89,40,84,78,86,1,-1,-1,-1\n', 1, '14 columns, .* at most 10'),
        ('1,1,54,55,40,79,1\n1,2,54,08,54,89,40,84,78\n', 2, "'08' as a number"),
        ('1,1,54,55,40,79\n2,1,54,5,55,40,79\n', 2, '7 columns, but other rows'),
        ('1,1,54,5,55,40,79\n2,1,54,55,40,79\n', 1, '7 columns, but other rows'),
        ('1,1,5,5,4,7,1,-1,-1,-1\n2,1,5,5,5,4,7,1,-1,-1,-1,-1\n', 2, '12 columns'),
        ('1;1;54,08;54,89;40,84;78,86;1;-1;-1;-1\n', 1, "'54,08' for x, a decimal"),
        ('1 1 54 55 40 79\n2 1 54,5 55 40 79\n', 2, "'54,5' for x, a decimal comma"),
        ('1\t1\t-54,08\t54,89\t40,84\t78,86\n', 1, "'-54,08' for x"),
        ('"1","1","54,08","54,89","40,84","78,86"\n', 1, 'decimal commas in quotes'),
        ('1,1,4,5,6,7,1,-1,-1,-1' + ',0.5' * 128 + '\n', 1, '138 columns'),
    ],
)
def test_decimal_commas_and_too_many_columns(tmp_path, content, line, expected):
    with pytest.raises(ValueError, match=rf'gt\.txt:{line}: .*{expected}'):
        read_tracks(_write(tmp_path, content))


@pytest.mark.parametrize(
    'line',
    ['2 1 1 1 2 2', '2;1;1;1;2;2', '2\t1\t1\t1\t2\t2', '2,1 1 1 2 2', '2,1,1;1,2,2'],
)
def test_a_file_has_one_separator(tmp_path, line):
    path = _write(tmp_path, f'1,1,1,1,2,2\n{line}\n')
    with pytest.raises(ValueError, match=r'gt\.txt:2: found'):
        read_tracks(path)


def test_what_looks_like_decimal_commas_and_is_none(tmp_path):
    for content in (
        '000001,01,912,484,97,109,0,7,1\n',  # padded frames and identities
        '0,0,10,20,30,40,1,1,0.5,1.25,-3.5,20.0\n',  # 12 columns of MOTSynth
        '1,1,0,0,0.5,09.25,1\n',
    ):
        text = scan_mot_text(_write(tmp_path, content), first_frame=0)
        assert not text.problems and len(text) == 1


def test_a_position_in_the_world_is_no_class(tmp_path):
    rows = '1,1,88,99,61.08,218.56,1,4.4852,5.5016,0\n1,2,8,9,6,8,1,4,5.5,0\n'
    text = scan_mot_text(_write(tmp_path, rows))
    assert text.tracks.label.tolist() == [-1, -1]
    assert text.visibility.tolist() == [-1, -1] and text.num_columns == 10


def test_a_caller_may_let_frames_begin_at_0(tmp_path):
    path = _write(tmp_path, '0 1 1 1 2 2\n1 1 1 1 2 2 1\n')
    assert scan_mot_text(path).problems[0].line == 1
    text = scan_mot_text(path, first_frame=0)
    assert text.tracks.frame.tolist() == [0, 1] and not text.problems
    assert text.separator == ' ' and text.num_columns == 6


@pytest.mark.parametrize('label', ['inf', '-1e300', 'nan'])
def test_a_class_that_is_no_number_is_none(tmp_path, label):
    path = _write(tmp_path, f'1,1,0,0,2,2,1,{label}\n1,2,0,0,2,2,1,3\n')
    assert read_tracks(path).label.tolist() == [-1, 3]


def test_frames_beyond_the_sequence_are_named(tmp_path):
    path = _write(tmp_path, '1,1,0,0,2,2\n\n3,1,0,0,0,2\n4,1,0,0,2,2\n')
    with pytest.raises(ValueError, match=r'gt.txt:3: found frame 3, .* 2 frames \(2 '):
        read_tracks(path, num_frames=2)


def test_duplicates_name_both_lines(tmp_path):
    path = _write(
        tmp_path, '1,5,0,0,2,2\n2,5,0,0,2,2\n1,6,0,0,2,2\n1,5,9,9,2,2\n1,5,8,8,2,2\n'
    )
    problems = scan_mot_text(path).duplicates()
    assert [p.line for p in problems] == [4, 5]
    assert all('first on line 1' in p.message for p in problems)
    with pytest.raises(ValueError, match=r'gt.txt:4: identity 5 .*1 more'):
        read_tracks(path, unique=True)


def test_empty_missing_and_binary_files(tmp_path):
    assert len(read_tracks(_write(tmp_path, '\n \n'))) == 0
    with pytest.raises(FileNotFoundError, match='absent.txt'):
        read_tracks(tmp_path / 'absent.txt')
    (tmp_path / 'gt.txt').write_bytes(b'1,1,1,1,1,1\n\xff\xfe\x00')
    with pytest.raises(ValueError, match='gt.txt:2: .*not UTF-8'):
        read_tracks(tmp_path / 'gt.txt')


def test_writes_the_challenge_columns(tmp_path):
    tracks = Tracks.create([1], [3], [[1.25, 2, 3.125, 4]], [0.5])
    write_tracks(tmp_path / 'a.txt', tracks, decimals=2)
    assert (tmp_path / 'a.txt').read_text() == '1,3,1.25,2,3.12,4,0.5,-1,-1,-1\n'


def test_column_8_gets_the_number_of_the_label(tmp_path):
    tracks = Tracks.create([1] * 3, [1, 2, 3], np.ones((3, 4)), label=[1, -1, 0])
    write_tracks(tmp_path / 'a.txt', tracks, numbers=[4, 9])
    assert read_tracks(tmp_path / 'a.txt').label.tolist() == [9, -1, 4]
    with pytest.raises(ValueError, match=r'a\.txt: found label 1, .* end at label 0'):
        write_tracks(tmp_path / 'a.txt', tracks, numbers=[4])


def test_refuses_to_write_nonsense(tmp_path):
    tracks = Tracks.create([1], [3], [[1, 2, 3, 4]], [np.nan])
    with pytest.raises(ValueError, match=r'a\.txt: .*finite'):
        write_tracks(tmp_path / 'a.txt', tracks)
    assert not list(tmp_path.iterdir())
