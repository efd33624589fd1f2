# Copyright (c) mmfdta authors.
"""Bad lines of annotation stop training or are said; odd sequences go through."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from mmfdta.datasets import ClipSampler, MOTSequenceDataset, mot_sequence

GOOD = '1,1,1,2,5,6,1,1,1\n'


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """Warnings that the data set logs."""
    texts = []

    def keep(text: str, logger: str, level: int) -> None:
        assert level == logging.WARNING
        texts.append(text)

    monkeypatch.setattr(mot_sequence, 'print_log', keep)
    return texts


def load(folder: Path, make: Callable, text: str, **options) -> MOTSequenceDataset:
    """A data set of one sequence of four frames with this annotation."""
    sequence = make(folder / 'train' / 'a', 4)
    (sequence / 'gt' / 'gt.txt').write_bytes(text.encode())
    return MOTSequenceDataset(str(folder), 'train', **options)


def identities(dataset: MOTSequenceDataset) -> list[list[int]]:
    return [dataset.get_data_info(t)['gt_ids'].tolist() for t in range(len(dataset))]


REFUSED = {
    '2,1,5': 'found 3 columns, expected at least 6',
    '2;1;1;2;5;6': 'found columns separated by semicolons, expected commas',
    '2,x,1,2,5,6': "found 'x' for id",
    '2,1,nan,2,5,6': "found 'nan' for x",
    '2,1,1,2,inf,6': "found 'inf' for w",
    '2,1,1,2,1e39,6': 'found box .* less than 1e',
    '2,1,1e7,2,5,6': 'found box .* less than 1e',
    '5,1,1,2,5,6': 'found frame 5, but the sequence has 4 frames',
    '0,1,1,2,5,6\n4,1,1,2,5,6': 'found frame 0, but the sequence has 4 frames',
    '-1,1,1,2,5,6': "frame '-1'",
    '2,-1,1,2,5,6': 'found identity -1',
    '2,1.5,1,2,5,6': "found '1.5' for id",
}


@pytest.mark.parametrize(
    'text',
    ['1,1,5,5,0,9\n', '1,1,9,9,-5,-5\n2,1,9,9,-5,-5\n', '1,1,5,5,9,0\n2,1,5,5,0,0\n'],
)
def test_a_text_of_boxes_without_an_extent_is_refused(
    tmp_path: Path, make_sequence, text: str
) -> None:
    with pytest.raises(ValueError, match=r'gt.txt:1: width or height is 0 or less'):
        load(tmp_path, make_sequence, text)


@pytest.mark.parametrize('line', REFUSED)
@pytest.mark.parametrize('test_mode', [False, True], ids=['training', 'testing'])
def test_a_bad_line_is_named(
    tmp_path: Path, make_sequence, line: str, test_mode: bool
) -> None:
    with pytest.raises(ValueError, match=f'gt.txt:2: .*{REFUSED[line]}'):
        load(tmp_path, make_sequence, f'{GOOD}{line}\n', test_mode=test_mode)


@pytest.mark.parametrize('size', ['-5,6', '5,-6', '0,6', '-1e39,6'])
def test_boxes_without_area_are_left_out_and_said(
    tmp_path: Path, make_sequence, said: list[str], size: str
) -> None:
    dataset = load(tmp_path, make_sequence, f'{GOOD}2,1,1,2,{size}\n3,1,1,2,5,6\n')
    assert identities(dataset) == [[1], [], [1], []]
    assert len(said) == 1
    assert 'gt.txt:2: skipped 1 rows with width or height <= 0' in said[0]


def test_no_clip_has_an_identity_twice_in_a_frame(
    tmp_path: Path, make_sequence, said: list[str]
) -> None:
    text = GOOD + '2,1,1,2,5,6\n2,1,30,2,5,6\n3,1,1,2,5,6\n4,1,1,2,5,6\n'
    dataset = load(tmp_path, make_sequence, text)
    assert identities(dataset) == [[1], [1, 1], [1], [1]]
    assert len(said) == 1 and 'gt.txt:3: identity 1' in said[0]
    assert 'training skips these frames' in said[0]
    sampler = ClipSampler(dataset, lengths=2, max_interval=2, seed=0)
    drawn = set()
    for epoch in range(20):
        sampler.set_epoch(epoch)
        drawn |= {frames for _, frames in sampler.clips}
    assert drawn == {(0, 2), (2, 3)}


def test_windows_ends_and_spaces_change_nothing(tmp_path: Path, make_sequence) -> None:
    text = '1,1,1,2,5,6\n2,1,1.5,2,5,6\n'
    plain = load(tmp_path / 'plain', make_sequence, text)
    other = text.replace('\n', '\r\n').replace(',', ' , ') + '\r\n'
    windows = load(tmp_path / 'windows', make_sequence, '\ufeff' + other)
    for t in range(4):
        one, two = (d.get_data_info(t)['gt_bboxes'] for d in (plain, windows))
        assert one.tolist() == two.tolist()
    assert identities(windows) == [[1], [1], [], []]


@pytest.mark.parametrize('text', ['', '\n', '\r\n \r\n'])
def test_an_empty_file_is_a_sequence_without_objects(
    tmp_path: Path, make_sequence, text: str
) -> None:
    dataset = load(tmp_path, make_sequence, text)
    assert identities(dataset) == [[]] * 4
    with pytest.raises(
        ValueError, match='lengths=1 frames: no clip of 1 sequences.* has 0'
    ):
        ClipSampler(dataset, lengths=1, seed=0)


def test_clips_come_from_sequences_that_have_some(
    tmp_path: Path, make_sequence
) -> None:
    """Beside one frame, no objects and more objects than queries."""
    make_sequence(tmp_path / 'train' / 'b', 1)
    crowd = ''.join(f'{t},{i},1,2,5,6\n' for t in (1, 2) for i in range(1000))
    make_sequence(tmp_path / 'train' / 'c', 2, crowd)
    make_sequence(tmp_path / 'train' / 'd', 3)
    dataset = load(tmp_path, make_sequence, '')
    assert [s.name for s in dataset.sequences] == ['a', 'b', 'c', 'd']
    for length, expected in ((1, {1, 3}), (2, {3})):
        sampler = ClipSampler(dataset, lengths=length, seed=0)
        assert {sequence for sequence, _ in sampler.clips} == expected
    counts = [len(ids) for ids in identities(dataset)]
    assert counts == [0] * 4 + [2] + [1000] * 2 + [2] * 3
