# Copyright (c) mmfdta authors.
"""Names and numbers of classes, and identities that count within a class."""

from pathlib import Path

import numpy as np
import pytest

from mmfdta.structures.classes import (
    choose_classes,
    column_numbers,
    labels_beside,
    read_labels,
)
from mmfdta.structures.tracks import Tracks


def write(folder: Path, text: str) -> Path:
    """Write a ``labels.txt``; return the ground truth beside it."""
    folder.mkdir(parents=True)
    (folder / 'labels.txt').write_bytes(text.encode())
    return folder / 'gt.txt'


@pytest.mark.parametrize(
    ('meta', 'numbers'),
    [
        (None, None),
        ({}, None),
        (dict(classes='person'), None),
        (dict(classes=('person',)), None),
        (dict(classes=('person',), class_numbers=(3,)), None),
        (dict(classes=('person', 'car')), (1, 2)),
        (dict(classes=['person', 'car'], class_numbers=[1, 3]), (1, 3)),
        (dict(classes=('a', 'b', 'c')), (1, 2, 3)),
    ],
)
def test_numbers_are_written_for_several_classes_only(meta, numbers):
    assert column_numbers(meta) == numbers


@pytest.mark.parametrize(
    'text',
    [
        'person\ncar\n',
        'person\ncar',
        'person\r\ncar\r\n',
        '\ufeffperson\ncar\n\n',
        ' person \n\tcar\n',
    ],
)
def test_labels_count_from_1(tmp_path, text):
    gt = write(tmp_path / 'gt', text)
    assert labels_beside([gt]) == {1: 'person', 2: 'car'}


def test_a_blank_line_has_a_number_too(tmp_path):
    write(tmp_path / 'gt', 'person\n\ntraffic light\n')
    assert read_labels(tmp_path / 'gt' / 'labels.txt') == {
        1: 'person',
        3: 'traffic light',
    }


def test_bad_labels_are_named(tmp_path):
    gt = write(tmp_path / 'a' / 'gt', 'person\ncar\nperson\n')
    with pytest.raises(ValueError, match=r"labels.txt:3: .*'person' again.*line 1"):
        labels_beside([gt])
    (gt.parent / 'labels.txt').write_bytes(b'\xff\xfe')
    with pytest.raises(ValueError, match='labels.txt: expected UTF-8'):
        labels_beside([gt])


def test_labels_of_sequences_must_agree(tmp_path):
    texts = [
        write(tmp_path / 'a' / 'gt', 'person\ncar\n'),
        write(tmp_path / 'b' / 'gt', 'person\ncar\nbus\n'),
        tmp_path / 'c' / 'gt' / 'gt.txt',
    ]
    assert labels_beside(texts) == {1: 'person', 2: 'car', 3: 'bus'}
    texts.append(write(tmp_path / 'd' / 'gt', 'car\nperson\n'))
    with pytest.raises(ValueError, match="class 1 is 'car', but 'person' in"):
        labels_beside(texts)


LABELS = {1: 'person', 3: 'traffic light'}


@pytest.mark.parametrize(
    ('words', 'chosen'),
    [
        (['person=1', 'car=2'], {'person': (1,), 'car': (2,)}),
        (['person', 'traffic light'], {'person': (1,), 'traffic light': (3,)}),
        (['vehicle=4,5,4', 'person'], {'vehicle': (4, 5), 'person': (1,)}),
        (['pedestrian=1'], {'pedestrian': (1,)}),
        (['a=b=7'], {'a=b': (7,)}),
        (['background=0'], {'background': (0,)}),
    ],
)
def test_classes_are_chosen(words, chosen):
    assert choose_classes(words, LABELS) == chosen


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['bus'], "found 'bus', expected NAME=NUMBER.*labels.txt has person=1"),
        (['car='], "found 'car='"),
        (['=3'], "found '=3'"),
        (['car=x'], "found 'car=x'"),
        (['car=1.5'], "found 'car=1.5'"),
        (['car=-1'], "found 'car=-1'"),
        (['car=2,'], "found 'car=2,'"),
        (['car=2', 'car=4'], "found 'car' twice"),
        (['car=2', 'bus=2'], "number 2 for 'car' and for 'bus'"),
        (['car=2,4', 'bus=4'], "number 4 for 'car' and for 'bus'"),
        (['person', 'man=1'], "number 1 for 'person' and for 'man'"),
        (['person=3'], "found 'person=3', but labels.txt has person=1"),
    ],
)
def test_what_cannot_be_chosen_is_said(words, said):
    with pytest.raises(ValueError, match=said):
        choose_classes(words, LABELS)


def test_a_name_alone_needs_labels():
    with pytest.raises(ValueError, match=r"'car'.*no labels.txt next to the ground"):
        choose_classes(['car'])


def boxes(identity, label, frame=None) -> Tracks:
    frame = [1] * len(identity) if frame is None else frame
    return Tracks.create(frame, identity, np.ones((len(identity), 4)), None, label)


def test_the_same_identity_of_two_classes_is_no_repeat():
    tracks = boxes([5, 5, 5, 7], [1, 2, 1, 1])
    assert tracks.find_repeats() == [(1, 0), (2, 0)]
    assert tracks.find_repeats(by_class=True) == [(2, 0)]
    with pytest.raises(ValueError, match='identity 5 occurs twice in frame 1'):
        tracks.check('it', 1, by_class=True)
    tracks.select(np.array([0, 1, 3])).check('it', 1, by_class=True)


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('by_class', [False, True])
def test_repeats_are_those_of_a_plain_search(seed, by_class):
    rng = np.random.default_rng(seed)
    frame, identity, label = rng.integers((1, 0, -1), (4, 4, 3), (30, 3)).T
    tracks = boxes(identity, label, frame)
    found = {row for row, _ in tracks.find_repeats(by_class)}
    for group in {(f, i) for f, i in zip(frame, identity, strict=True)}:
        rows = [r for r in range(30) if (frame[r], identity[r]) == group]
        labels = [label[r] if by_class else 0 for r in rows]
        kinds = 1 if -1 in labels else len(set(labels))
        assert len(found.intersection(rows)) == len(rows) - kinds
        for row, first in tracks.find_repeats(by_class):
            if row in rows:
                assert first in rows and first not in found


@pytest.mark.parametrize(
    ('identity', 'label'),
    [
        ([1, 1, 2, 12], [1, 2, 2, 2]),
        ([0, 0, 0], [0, 1, -1]),
        ([-4, 4, -4, 4], [3, 3, 7, 7]),
        ([2**52, 2**52, 3], [1, 2, 3]),
        ([2**52] * 120, list(range(120))),
        ([], []),
    ],
)
def test_pairs_are_identities_of_their_own(identity, label):
    """Two rows have one new identity if and only if class and identity agree."""
    tracks = boxes(identity, label)
    paired = tracks.with_paired_identities().identity
    pairs = np.stack([tracks.label, tracks.identity], axis=1)
    same = (pairs[:, None] == pairs[None]).all(axis=2)
    np.testing.assert_array_equal(paired[:, None] == paired[None], same)


def test_pairs_can_be_read():
    paired = boxes([1, 12, 1, 12], [1, 1, 3, 3]).with_paired_identities()
    assert paired.identity.tolist() == [1, 12, 101, 112]
