# Copyright (c) mmfdta authors.
"""Who returns has the old number: hand-made cases, brute force, any order of events."""

import io
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmfdta.models.trackers.gallery import (
    IdentityGallery,
    embeddings_of_tracks,
    rows_of_tracks,
)
from mmfdta.structures.boxes import covered_shares

A, B, C = np.eye(3, dtype=np.float32)
PLACES = np.array([[x, 0, x + 10, 30] for x in range(0, 400, 20)], np.float32)


def step(gallery, *tracks, score=0.9, label=0, boxes=PLACES):
    """Numbers of the next frame's tracks, each an identity and an embedding."""
    count = len(tracks)
    return gallery.update(
        np.array([identity for identity, _ in tracks], dtype=np.int64),
        boxes[:count],
        np.full(count, score),
        np.full(count, label),
        np.array([look for _, look in tracks], np.float32).reshape(
            count, -1 if count else 3
        ),
    ).tolist()


def test_who_returns_has_the_old_number_and_a_stranger_a_new_one():
    gallery = IdentityGallery(0.8)
    assert step(gallery, (7, A), (3, B)) == [0, 1]
    assert step(gallery, (3, B)) == [1]
    assert step(gallery) == []
    # The tracker calls A 9 now; C was never here.
    assert step(gallery, (3, B), (9, 5 * A), (10, C)) == [1, 0, 2]
    assert step(gallery, (10, C), (9, A), (3, B)) == [2, 0, 1]


def test_who_is_here_is_nobody_else():
    """Twins in one frame are two; one that began beside the other stays another."""
    gallery = IdentityGallery(0.8)
    assert step(gallery, (0, A)) == [0]
    assert step(gallery, (1, A), (0, A)) == [1, 0]
    # Both are away and one returns, then the other.
    assert step(gallery) == []
    (first,) = step(gallery, (2, A))
    (_, second) = step(gallery, (2, A), (3, A))
    assert {first, second} == {0, 1}


def test_an_old_identity_of_the_tracker_is_not_two_people():
    """Its number went to another track meanwhile; it must not be given twice."""
    gallery = IdentityGallery(0.8)
    step(gallery, (0, A))
    step(gallery)
    assert step(gallery, (1, A)) == [0]
    assert step(gallery, (0, A), (1, A)) == [1, 0]
    assert step(gallery, (1, A), (0, A)) == [0, 1]


def test_a_track_is_not_who_was_in_the_frame_in_which_it_began():
    """Its first good embedding comes when the other has left."""
    gallery = IdentityGallery(0.8)
    assert step(gallery, (0, A), (1, np.full(3, np.nan))) == [0, 1]
    assert step(gallery, (1, A), (2, C)) == [1, 2]


def test_a_class_is_not_taken_for_another():
    gallery = IdentityGallery(0.8)
    step(gallery, (0, A), label=0)
    step(gallery)
    assert step(gallery, (1, A), label=1) == [1]
    step(gallery)
    assert step(gallery, (2, A), label=0) == [0]


@pytest.mark.parametrize('bad', [dict(score=0.2), dict(look=np.full(3, np.nan))])
def test_a_bad_look_waits_for_a_good_one(bad):
    gallery = IdentityGallery(0.8, min_quality=0.5)
    step(gallery, (0, A))
    step(gallery)
    assert step(gallery, (1, bad.pop('look', A)), **bad) == [1]
    assert step(gallery, (1, A)) == [0]


def test_a_covered_box_is_not_remembered():
    """Somebody in front lends A his look; A is A still."""
    gallery = IdentityGallery(0.95, min_quality=0.5)
    step(gallery, (0, A), (1, B))
    covered = np.array([[0, 0, 10, 30], [1, -10, 31, 60]], np.float32)
    assert covered_shares(covered) == pytest.approx([0.9, 270 / 2100])
    for _ in range(9):
        assert step(gallery, (0, B), (1, B), boxes=covered) == [0, 1]
    step(gallery)
    assert step(gallery, (5, A), (6, B)) == [0, 1]


def test_the_mean_of_good_looks_is_weighted_with_their_quality():
    """Cosine of C and 0.9 A + 0.3 C is 0.316; of C and their plain mean 0.707."""
    for threshold, expected in ((0.31, 0), (0.33, 1)):
        gallery = IdentityGallery(threshold, min_quality=0)
        step(gallery, (0, A), score=0.9)
        step(gallery, (0, C), score=0.3)
        step(gallery)
        assert step(gallery, (1, C)) == [expected]


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4))
def test_those_who_return_together_are_assigned_best(seed, away, back):
    rng = np.random.default_rng(seed)
    old, new = rng.normal(size=(away, 3)), rng.normal(size=(back, 3))
    threshold = rng.uniform(-0.5, 0.8)
    gallery = IdentityGallery(threshold)
    step(gallery, *enumerate(old))
    step(gallery)
    found = step(gallery, *enumerate(new, start=away))
    alike = old @ new.T / np.linalg.norm(old, axis=1)[:, None]
    alike /= np.linalg.norm(new, axis=1)

    def worth(choice):
        pairs = [(i, j) for j, i in enumerate(choice) if i is not None]
        if any(alike[pair] < threshold for pair in pairs):
            return -1
        return sum(alike[pair] - threshold for pair in pairs)

    options = [*range(away), *[None] * back]
    best = max(map(worth, itertools.permutations(options, back)))
    chosen = [number if number < away else None for number in found]
    assert worth(chosen) == pytest.approx(best, abs=1e-6)


@given(st.integers(0, 10**6))
def test_any_video_keeps_the_rules(seed):
    """No number twice in a frame, none changed in a track, bounded memory."""
    rng = np.random.default_rng(seed)
    gallery = IdentityGallery(rng.uniform(-1, 1), 0.4, max_identities=3)
    before = {}
    for number in range(40):
        if number == 25:
            gallery.start_video()
            before = {}
        keys = rng.permutation(8)[: rng.integers(0, 6)]
        scores = rng.choice([0.3, 0.9], len(keys))
        places = rng.uniform(0, 40, (len(keys), 2))
        names = gallery.update(
            keys,
            np.concatenate([places, places + 20], 1),
            scores,
            rng.integers(0, 2, len(keys)),
            rng.normal(size=(len(keys), 2)),
        )
        assert len(set(names.tolist())) == len(keys)
        now = dict(zip(keys.tolist(), names.tolist(), strict=True))
        kept = {key: n for key, n in before.items() if key in now}
        # A number changes once, when the first good look says whom it is.
        assert all(
            now[key] == name or scores[keys == key] > 0.4 and name not in now.values()
            for key, name in kept.items()
        )
        before = now
        assert len(gallery) <= max(3, len(keys))
        assert len(gallery._tracks) <= max(6, len(keys))


def test_who_was_away_for_longest_is_forgotten():
    gallery = IdentityGallery(0.8, max_identities=2)
    for key, look in enumerate((A, B, A, C)):  # A returns before C comes
        step(gallery, (key, look))
        step(gallery)
    assert step(gallery, (7, A), (8, C)) == [0, 2]
    step(gallery)
    assert step(gallery, (9, B)) == [3]  # was 1


def test_as_many_as_it_holds_are_remembered():
    looks = np.eye(4)
    gallery = IdentityGallery(0.8, max_identities=4)
    for key, look in enumerate(looks):
        assert step(gallery, (key, look)) == [key]
    assert step(gallery, *((10 + i, look) for i, look in enumerate(looks))) == [
        0,
        1,
        2,
        3,
    ]


def test_a_file_goes_on_where_the_video_before_ended(tmp_path):
    path = tmp_path / 'people.npz'
    first = IdentityGallery.open(path, threshold=0.8)
    assert len(first) == 0
    assert not path.exists()
    assert step(first, (0, A), (1, B)) == [0, 1]
    first.save(path)
    second = IdentityGallery.open(path, threshold=0.8)
    for gallery in (first, second):
        gallery.start_video()
        assert step(gallery, (0, C), (1, B), (2, A)) == [2, 1, 0]
    IdentityGallery().save(path)
    assert len(IdentityGallery.open(path)) == 0
    second.save(path)
    small = IdentityGallery.open(path, max_identities=2)
    assert len(small) == 2


def test_a_file_of_other_weights_is_refused(tmp_path):
    path = tmp_path / 'people.npz'
    gallery = IdentityGallery.open(path)
    gallery.of_weights('one')
    step(gallery, (0, A))
    gallery.save(path)
    IdentityGallery.open(path).of_weights('one')
    with pytest.raises(ValueError, match=r'people\.npz: found embeddings of one'):
        IdentityGallery.open(path).of_weights('two')
    with pytest.raises(ValueError, match='found embeddings of 2 numbers, expected 3'):
        step(IdentityGallery.open(path), (0, A[:2]))


class Harm:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return exec, ('raise SystemExit("ran")',)


def damaged():
    whole = io.BytesIO()
    gallery = IdentityGallery()
    step(gallery, (0, A), (1, B))
    fields = dict(format=1, source='', next_number=2)
    np.savez(whole, **fields, number=[0, 0], label=[0, 0], look=np.eye(2))
    yield whole.getvalue()  # a number twice
    yield whole.getvalue()[:-40]  # broken off
    nan = io.BytesIO()
    np.savez(nan, **fields, number=[0], label=[0], look=np.full((1, 2), np.nan))
    yield nan.getvalue()
    later = io.BytesIO()
    np.savez(later, **(fields | dict(format=2)))
    yield later.getvalue()
    yield pickle.dumps(Harm())
    hidden = io.BytesIO()
    np.savez(hidden, **fields, number=np.array([Harm()], object))
    yield hidden.getvalue()
    yield b''


@pytest.mark.parametrize('content', list(damaged()))
def test_what_is_no_gallery_is_one_line(tmp_path, content):
    path = tmp_path / 'people.npz'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'people\.npz: expected a gallery') as error:
        IdentityGallery.open(path)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('name', 'value', 'found'),
    [
        ('number', [0, -1], '-1'),
        ('number', [0, np.nan], 'nan'),
        ('number', [0, 0.5], '0.5'),
        ('number', [0, 2**63 - 1], '9223372036854775807'),
        ('label', [-1, 0], '-1'),
        ('label', [np.inf, 0], 'inf'),
        ('next_number', -5, '-5'),
        ('next_number', np.nan, 'nan'),
        ('look', [[1, 0], [np.nan, 1]], 'NaN'),
    ],
)
def test_numbers_that_no_gallery_has_are_named(tmp_path, name, value, found):
    path = tmp_path / 'people.npz'
    fields = dict(format=1, source='', next_number=2, number=[0, 1], label=[0, 0])
    np.savez(path, **(fields | dict(look=np.eye(2))))
    gallery = IdentityGallery.open(path)
    assert (len(gallery), gallery.next_number) == (2, 2)
    np.savez(path, **(fields | dict(look=np.eye(2)) | {name: value}))
    with pytest.raises(ValueError, match=rf'people\.npz: .*{name}: found {found}'):
        gallery.load(path)
    assert (len(gallery), gallery.next_number) == (2, 2)


@pytest.mark.parametrize('name', ['people', 'people.txt', ''])
def test_a_file_has_the_end_that_says_what_it_is(name):
    with pytest.raises(ValueError, match=r"found '.*', expected .* \.npz"):
        IdentityGallery.open(name)


def test_what_is_out_of_range_is_named(tmp_path):
    for name, value in dict(threshold=2, min_quality=-1, max_identities=0).items():
        with pytest.raises(ValueError, match=rf'gallery\.{name}: found {value}'):
            IdentityGallery(**{name: value})
    with pytest.raises(ValueError, match='occurs twice'):
        step(IdentityGallery(), (0, A), (0, B))
    (tmp_path / 'folder.npz').mkdir()
    with pytest.raises(FileNotFoundError, match='expected a gallery'):
        IdentityGallery.open(tmp_path / 'folder.npz')


def test_a_track_is_the_detection_of_its_class_that_it_lies_on():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [5, 5, 5, 5]])
    boxes, labels = boxes.astype(np.float32), np.array([0, 0, 1, 0])
    tracks = boxes[[1, 2, 0, 3]] + np.float32([[0], [0], [100], [0]])
    rows = rows_of_tracks(tracks, np.array([0, 1, 0, 0]), boxes, labels)
    assert rows.tolist() == [1, 2, -1, -1]
    found = embeddings_of_tracks(np.eye(4), rows)
    np.testing.assert_array_equal(found[:2], np.eye(4)[[1, 2]])
    assert np.isnan(found[2:]).all()
    nothing = np.zeros((0, 4), np.float32)
    assert rows_of_tracks(nothing, labels[:0], boxes, labels).shape == (0,)
    assert rows_of_tracks(boxes, labels, nothing, labels[:0]).tolist() == [-1] * 4
