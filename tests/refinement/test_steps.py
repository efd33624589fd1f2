# Copyright (c) mmfdta authors.
"""Joining, removing, filling and smoothing, against hand-made cases and algebra."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from mmfdta.refinement import Refinement, refine_tracks
from mmfdta.refinement.motion import regress
from mmfdta.structures.track_embeddings import TrackEmbeddings
from mmfdta.structures.tracks import Tracks


def line(identity, frames, x=0.0, speed=4.0, y=50.0, label=-1, score=0.5):
    """A box 20 wide and 40 high that moves to the right."""
    frames = np.asarray(frames)
    boxes = [[x + speed * frame, y, 20, 40] for frame in frames]
    count = len(frames)
    return Tracks.create(
        frames, [identity] * count, boxes, [score] * count, [label] * count
    )


def together(*parts):
    return Tracks.concatenate(list(parts)).in_frame_order()


def rows_of(tracks):
    columns = tracks.frame, tracks.identity, tracks.xywh, tracks.score, tracks.label
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [(f, i, *box, s, label) for f, i, box, s, label in rows]


def identities(tracks, frames):
    return {f: sorted(tracks.identity[tracks.frame == f].tolist()) for f in frames}


@pytest.mark.parametrize('how', ['linear', 'gaussian'])
def test_a_gap_is_filled_on_the_line_with_class_and_score(how):
    tracks = Tracks.create(
        [1, 2, 6], [3, 3, 3], [[0, 0, 10, 20], [2, 1, 10, 20], [10, 5, 10, 20]],
        [0.1, 0.2, 0.6], [4, 4, 4],
    )  # fmt: skip
    refined = refine_tracks(tracks, interpolate=how, max_gap=3)
    found = {row[0]: row[1:] for row in rows_of(refined.tracks)}
    assert sorted(found) == [1, 2, 3, 4, 5, 6]
    for frame, score in ((3, 0.3), (4, 0.4), (5, 0.5)):
        identity, *box, got, label = found[frame]
        assert (identity, label) == (3, 4)
        assert got == pytest.approx(score, abs=1e-6)
        place = 2.0 * (frame - 1), frame - 1.0, 10, 20
        assert box == pytest.approx(place, abs=1e-3)
    (change,) = refined.changes
    assert (change.step, change.added, change.boxes) == ('interpolate', 3, (3, 6))
    assert refine_tracks(tracks, interpolate=how, max_gap=2).tracks.frame.size == 3


def test_the_process_bends_where_a_line_does_not():
    frames = np.array([f for f in range(1, 41) if not 18 <= f <= 23])
    angle = lambda f: 2 * np.pi * np.asarray(f) / 40  # noqa: E731
    place = lambda f: np.stack([80 * np.cos(angle(f)), 80 * np.sin(angle(f))], -1)  # noqa: E731
    boxes = np.concatenate([place(frames), np.full((len(frames), 2), 30.0)], axis=1)
    tracks = Tracks.create(frames, np.ones(len(frames), int), boxes)
    errors = {}
    for how in ('linear', 'gaussian'):
        filled = refine_tracks(tracks, interpolate=how, max_gap=6).tracks
        new = filled.select((filled.frame >= 18) & (filled.frame <= 23))
        assert len(new) == 6
        errors[how] = np.abs(new.xywh[:, :2] - place(new.frame)).max()
    assert errors['gaussian'] < 0.4 * errors['linear']


def test_the_process_is_that_of_an_integrated_velocity():
    """Against covariances by summing those of velocities over a fine grid."""
    memory, noise, grid = 5.0, 0.7, 0.02
    times = np.array([0.0, 1, 2, 3, 9, 10, 12])
    at = np.array([4.0, 6, 8, 11])
    values = np.array([[0.0, 1], [3, 1], [1, 2], [1, 2], [5, 2], [4, 3], [4, 2]])
    usual = np.median(np.diff(values, axis=0) / np.diff(times)[:, None], axis=0)
    rest = values - values[0] - usual * times[:, None]
    fine = np.arange(grid / 2, 12, grid)
    velocity = np.exp(-np.abs(fine[:, None] - fine[None]) / memory) * grid**2
    every = np.concatenate([times, at])
    past = (fine[None] < every[:, None]).astype(float)
    places = past @ velocity @ past.T + (10 * (memory + noise)) ** 2
    known = places[:7, :7] + noise**2 * np.eye(7)
    expected = places[7:, :7] @ np.linalg.solve(known, rest)
    expected += values[0] + usual * at[:, None]
    np.testing.assert_allclose(
        regress(times, values, at, memory, noise), expected, atol=1e-2
    )


def test_a_long_track_is_solved_in_blocks_that_do_not_show():
    rng = np.random.default_rng(0)
    times = np.arange(450.0)
    values = np.cumsum(rng.normal(0, 1, (450, 2)), axis=0)
    parts = regress(times, values, times, 10, 0.5)
    middle = slice(150, 260)  # across the end of a block
    alone = regress(times[middle], values[middle], times[middle], 10, 0.5)
    np.testing.assert_allclose(parts[middle][40:-40], alone[40:-40], atol=0.02)


def test_smoothing_takes_out_jitter_and_leaves_a_line():
    straight = line(1, range(1, 61))
    np.testing.assert_allclose(
        refine_tracks(straight, smooth=2.0).tracks.xywh, straight.xywh, atol=1e-3
    )
    rng = np.random.default_rng(1)
    noisy = Tracks.create(
        straight.frame, straight.identity, straight.xywh + rng.normal(0, 2, (60, 4))
    )
    refined = refine_tracks(noisy, smooth=2.0)
    error = lambda tracks: np.sqrt(((tracks.xywh - straight.xywh) ** 2).mean())  # noqa: E731
    assert error(refined.tracks) < 0.6 * error(noisy)
    assert refined.changes[0].moved == 60
    assert refine_tracks(noisy, smooth=0).changes[0].moved == 0


def test_short_tracks_go_and_are_named():
    tracks = together(line(1, range(1, 10)), line(2, [4, 5], y=200, label=3))
    refined = refine_tracks(tracks, remove_short=3)
    assert set(refined.tracks.identity) == {1}
    (change,) = refined.changes
    assert (change.removed, change.removed_tracks) == (2, ((3, 2),))
    assert len(refine_tracks(tracks, remove_short=2).tracks) == len(tracks)


def test_a_tracklet_is_continued_up_to_the_limit():
    tracks = together(line(1, range(1, 11)), line(2, range(16, 30)))  # 5 frames between
    refined = refine_tracks(tracks, join=5, join_distance=1.5)
    assert set(refined.tracks.identity) == {1}
    (change,) = refined.changes
    assert (change.renamed, change.tracks, len(change.joins)) == (14, (2, 1), 1)
    join = change.joins[0]
    assert (join.identity, join.joined, join.last, join.first) == (1, 2, 10, 16)
    for limits in (dict(join=4), dict(join=5, join_distance=0.01), dict(join=0)):
        assert set(refine_tracks(tracks, **limits).tracks.identity) == {1, 2}
    far = dict(join=5, join_distance=1.5)
    assert len(refine_tracks(tracks, **far, join_boxes=10).changes[0].joins) == 1
    assert not refine_tracks(tracks, **far, join_boxes=11).changes[0].joins
    # Without a gap: a switch from one frame to the next.
    tracks = together(line(1, range(1, 11)), line(2, range(11, 30)))
    assert set(refine_tracks(tracks, join=0).tracks.identity) == {1}


def test_two_that_meet_are_told_apart_by_their_motion():
    """They cross while nobody sees them; the nearest ends are those of the others."""
    right, left = dict(x=0.0, speed=5.0), dict(x=205.0, speed=-5.0)
    tracks = together(
        *(line(1, range(1, 19), **right), line(2, range(1, 19), **left, y=52)),
        *(line(3, range(24, 40), **right), line(4, range(24, 40), **left, y=52)),
    )
    joins = refine_tracks(tracks, join=10, join_distance=3).changes[0].joins
    assert {(join.identity, join.joined) for join in joins} == {(1, 3), (2, 4)}


@pytest.mark.parametrize('seed', range(5))
def test_the_sum_over_all_pairs_is_the_best(seed):
    """Against all ways of giving four beginnings to four ends."""
    rng = np.random.default_rng(seed)
    before, after = rng.uniform(0, 120, (4, 2)), rng.uniform(0, 120, (4, 2))
    places = np.concatenate([before, after])
    frames = np.repeat([1, 2], 4)
    boxes = np.concatenate([places - [10, 20], np.full((8, 2), (20.0, 40.0))], axis=1)
    tracks = Tracks.create(frames, np.arange(8), boxes)
    limit = 1.5
    how = dict(join=0, join_distance=limit, join_boxes=1)
    joins = refine_tracks(tracks, **how).changes[0].joins
    apart = np.linalg.norm(before[:, None] - after[None], axis=-1) / 40
    gain = np.maximum(1 - apart / limit, 0)
    best = max(sum(gain[range(4), p]) for p in itertools.permutations(range(4)))
    got = sum(gain[join.identity, join.joined - 4] for join in joins)
    assert got == pytest.approx(best)
    assert all(join.distance <= limit for join in joins)


def embeddings_of(tracks, by_identity):
    vectors = np.array([by_identity[i] for i in tracks.identity.tolist()], np.float32)
    return TrackEmbeddings(tracks.frame, tracks.identity, tracks.label, vectors)


def test_embeddings_decide_between_places_that_are_alike():
    ends = [line(1, range(1, 10), speed=0), line(2, range(1, 10), speed=0, x=25)]
    begins = [
        line(3, range(12, 20), speed=0, x=10),
        line(4, range(12, 20), speed=0, x=15),
    ]
    tracks = together(*ends, *begins)
    pairs = lambda known: {  # noqa: E731
        (join.identity, join.joined)
        for join in refine_tracks(
            tracks, known, join=5, join_distance=2, join_similarity=0.5
        )
        .changes[0]
        .joins
    }
    assert pairs(None) == {(1, 3), (2, 4)}
    looks = {1: [5, 0], 2: [0, 1], 3: [0, 2], 4: [1, 0]}
    assert pairs(embeddings_of(tracks, looks)) == {(1, 4), (2, 3)}
    looks = {1: [1, 0], 2: [1, 0], 3: [0, 1], 4: [0, 1]}
    assert pairs(embeddings_of(tracks, looks)) == set()


def test_classes_do_not_mix():
    tracks = together(
        line(1, range(1, 11), label=0), line(2, range(13, 30), label=1),
        line(3, [1, 2, 3, 7, 8], y=300, label=0), line(3, [5], y=300, label=1),
    )  # fmt: skip
    refined = refine_tracks(tracks, join=10, interpolate='linear')
    assert not refined.changes[0].joins
    # Frame 5 has a box of identity 3 already, of the other class.
    assert not refined.tracks.find_repeats()
    filled = refined.tracks.select(refined.tracks.identity == 3)
    assert sorted(filled.frame.tolist()) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert filled.label[filled.frame == 5].tolist() == [1]
    # A join that would give an identity two boxes in a frame is none.
    tracks = together(
        line(1, range(1, 11), label=0), line(2, range(12, 20), label=0),
        line(1, range(12, 20), y=300, label=1),
    )  # fmt: skip
    refined = refine_tracks(tracks, join=10)
    assert not refined.changes[0].joins
    assert not refined.tracks.find_repeats()


@pytest.mark.parametrize('seed', range(6))
def test_no_box_is_lost_or_made_without_being_counted(seed):
    rng = np.random.default_rng(seed)
    parts = []
    for identity in range(rng.integers(1, 9)):
        frames = np.flatnonzero(rng.random(60) < 0.6) + 1 + rng.integers(0, 30)
        label = rng.integers(-1, 2)
        parts.append(
            line(
                identity,
                frames,
                x=rng.uniform(0, 300),
                y=rng.uniform(0, 300),
                label=label,
                score=rng.random(),
            )
        )
    tracks = together(*parts)
    refined = refine_tracks(
        tracks, join=12, remove_short=4, interpolate='gaussian', max_gap=5
    )
    boxes = len(tracks)
    for change in refined.changes:
        assert change.boxes[0] == boxes
        boxes += change.added - change.removed
        assert change.boxes[1] == boxes
    assert len(refined.tracks) == boxes
    assert not refined.tracks.find_repeats(by_class=True)
    # What was found stays bit by bit, but for identities and what short tracks had.
    strip = lambda rows: sorted((row[0], *row[2:]) for row in rows)  # noqa: E731
    old, new = strip(rows_of(tracks)), strip(rows_of(refined.tracks))
    assert len(set(old) & set(new)) == len(tracks) - refined.changes[1].removed
    for identity in set(refined.tracks.identity.tolist()):
        for label in set(refined.tracks.label.tolist()):
            one = (refined.tracks.identity == identity) & (
                refined.tracks.label == label
            )
            gaps = np.diff(np.sort(refined.tracks.frame[one])) - 1
            assert not ((gaps > 0) & (gaps <= 5)).any()


def test_gaps_of_two_classes_do_not_give_an_identity_two_boxes_in_a_frame():
    tracks = together(
        line(1, [1, 3], label=0), line(1, [0, 4], y=300.0, label=1), line(2, [2])
    )
    filled = refine_tracks(tracks, interpolate='linear').tracks
    assert identities(filled, range(5)) == {0: [1], 1: [1], 2: [1, 2], 3: [1], 4: [1]}


def test_identities_within_classes_are_refined_as_if_alone():
    """A number in another class is another object."""
    people = together(
        line(1, [*range(1, 11), *range(14, 30)], label=0), line(2, range(32, 40))
    )
    people = replace(people, label=np.zeros(len(people), dtype=np.int64))
    cars = together(
        line(1, range(1, 40), y=300, label=1), line(2, [1, 2], y=600, label=1)
    )
    steps = dict(join=10, interpolate='linear')
    refined = refine_tracks(together(people, cars), **steps)
    alone = refine_tracks(people, **steps)
    assert [len(of.changes[0].joins) for of in (refined, alone)] == [1, 1]
    for label, expected in ((0, alone.tracks), (1, cars)):
        found = refined.tracks.select(refined.tracks.label == label)
        assert sorted(rows_of(found)) == sorted(rows_of(expected))
    # No frame has a number twice here; that they count so is told.
    apart = together(line(1, [1, 2, 6], label=0), line(1, [4], y=300, label=1))
    for pairs, added in ((None, 2), (False, 2), (True, 3)):
        filled = refine_tracks(apart, None, pairs, interpolate='linear')
        assert filled.changes[0].added == added


def test_frames_that_are_numbered_apart():
    tracks = line(1, [10, 15, 30], speed=1.0)
    assert len(refine_tracks(tracks, interpolate='linear', frame_step=5).tracks) == 5
    late = line(1, [10, 22], speed=1.0)  # 15 and 20 lack, which are two frames
    for max_gap, count in ((1, 2), (2, 4)):
        filled = refine_tracks(
            late, interpolate='linear', frame_step=5, max_gap=max_gap
        )
        assert len(filled.tracks) == count
    tracks = together(line(1, [0, 5, 10], speed=1.0), line(2, [20, 25], speed=1.0))
    assert len(refine_tracks(tracks, join=1, frame_step=5).changes[0].joins) == 1
    assert not refine_tracks(tracks, join=0, frame_step=5).changes[0].joins


@pytest.mark.parametrize('steps', [{}, dict(smooth=1), dict(interpolate='gaussian')])
def test_almost_nothing_is_no_fault(steps):
    assert len(refine_tracks(Tracks.empty(), **steps).tracks) == 0
    one = Tracks.create([4], [-1], [[1, 2, 0, -3]])
    kept = refine_tracks(one, remove_short=1, join=3, interpolate='linear', **{
        name: value for name, value in steps.items() if name != 'interpolate'
    })  # fmt: skip
    assert rows_of(kept.tracks) == rows_of(one)


def test_named_steps_take_the_place_of_the_usual_ones():
    assert Refinement.of(max_gap=3).interpolate == 'linear'
    assert Refinement.of(max_gap=3).join is not None
    assert Refinement.of(smooth=1) == Refinement(smooth=1)


@pytest.mark.parametrize(
    'settings, said',
    [
        (dict(joins=1), "found 'joins', expected some of join,"),
        (dict(join=-1), 'join: found -1, expected 0 or more'),
        (dict(interpolate='cubic'), "found 'cubic', expected one of linear, gaussian"),
        (dict(join_similarity=2), 'expected -1 to 1'),
        (dict(memory=0), 'memory: found 0, expected 0.1 or more'),
        (dict(smooth=float('nan')), 'smooth: found nan'),
    ],
)
def test_wrong_settings_are_named(settings, said):
    with pytest.raises(ValueError, match=said):
        refine_tracks(Tracks.empty(), **settings)


def test_an_identity_twice_in_a_frame_is_refused():
    tracks = together(line(1, [1, 2]), line(1, [2], y=300))
    with pytest.raises(ValueError, match='identity 1 occurs twice in frame 2'):
        refine_tracks(tracks)
