# Copyright (c) mmfdta authors.
"""Counting at lines and in zones, against exact geometry written for the test."""

import csv
import io
import itertools
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from matplotlib.path import Path as Polygon

from mmfdta.apis import CountingLine, CountingZone, ObjectCounter, TrackedFrame
from mmfdta.apis.track_outputs import VideoFacts, plan_counts
from mmfdta.structures import Tracks

IMAGE = np.zeros((200, 300, 3), np.uint8)
# Every crossing counts, at once.
EXACT = dict(min_frames=1, settle=1, margin=0.0)
DOOR = CountingLine('door', (100, 100), (200, 100))
YARD = CountingZone('yard', (((100, 50), (200, 50), (200, 150), (100, 150)),))


def _frame(number, points, time=None, labels=None, size=10):
    """A frame in which identity i + 1 stands at the i-th point, or is missing."""
    seen = [(i, point) for i, point in enumerate(points) if point is not None]
    boxes = [[x - size / 4, y - size, size / 2, size] for _, (x, y) in seen]
    tracks = Tracks.create(
        [number] * len(seen),
        [i + 1 for i, _ in seen],
        np.reshape(boxes, (-1, 4)),
        label=[0 if labels is None else labels[i] for i, _ in seen],
    )
    return TrackedFrame(number - 1, IMAGE, tracks, time=time)


def _run(counter, points, times=None, **options):
    """Let one object go along points, and list (frame, name, event) of all events."""
    events = []
    for i, point in enumerate(points):
        time = None if times is None else times[i]
        events += counter.update(_frame(i + 1, [point], time, **options)).events
    events += counter.finish().events
    return [(event.frame, event.name, event.event) for event in events]


def _crossings(line, points):
    """List frames and directions in which a path leads through a line, exactly.

    With parameters of the place of intersection as fractions, where the code compares
    signs.
    """
    (x1, y1), (x2, y2) = line.start, line.end
    dx, dy = x2 - x1, y2 - y1
    found = []
    for number, ((px, py), (qx, qy)) in enumerate(itertools.pairwise(points), start=2):
        # Left of who looks along the line, where y points down.
        left = [dy * (x - x1) > dx * (y - y1) for x, y in ((px, py), (qx, qy))]
        if left[0] == left[1]:
            continue
        wx, wy = qx - px, qy - py
        base = dx * wy - dy * wx
        along = Fraction((px - x1) * wy - (py - y1) * wx, base)
        if 0 <= along <= 1:
            found.append((number, line.name, 'in' if left[1] else 'out'))
    return found


def test_crossings_are_those_of_the_path_and_the_segment():
    rng = np.random.default_rng(0)
    total = Counter()
    for _ in range(60):
        ends = rng.integers([0, 0], [300, 200], (2, 2)).tolist()
        line = CountingLine('door', *map(tuple, ends))
        # On a coarse grid, so that paths also touch lines and their ends.
        points = (rng.integers([0, 0], [13, 9], (80, 2)) * 25).tolist()
        expected = _crossings(line, points)
        assert _run(ObjectCounter([line], **EXACT), points) == expected
        total.update(event for _, _, event in expected)
    assert min(total['in'], total['out']) > 300


def test_lines_that_meet_leave_no_gap():
    """Who passes the common end of two lines of a polygon is seen by one at least."""
    first = CountingLine('first', (50, 150), (120, 60))
    second = CountingLine('second', (120, 60), (250, 90))
    for step in range(-40, 41):
        counter = ObjectCounter([first, second], **EXACT)
        events = _run(counter, [(120 - step, 0), (120 + step, 120)])
        assert {event for _, _, event in events} == {'out'}


def test_in_is_to_the_left_as_in_supervision():
    supervision = pytest.importorskip('supervision')
    theirs = supervision.LineZone(
        supervision.Point(100, 100),
        supervision.Point(200, 100),
        triggering_anchors=[supervision.Position.BOTTOM_CENTER],
    )
    ours = ObjectCounter([DOOR], **EXACT)
    for i, y in enumerate([80, 90, 110, 130, 90, 120, 70]):
        frame = _frame(i + 1, [(150, y)])
        counts = ours.update(frame)
        theirs.trigger(frame.detections)
        assert counts.total('door', 'in') == theirs.in_count
        assert counts.total('door', 'out') == theirs.out_count
    assert theirs.in_count == theirs.out_count == 2


def test_who_walks_round_the_end_does_not_cross():
    """As documented, supervision's LineZone is wrong both ways."""
    supervision = pytest.importorskip('supervision')
    round_the_end = [(110, 130), (60, 130), (60, 70), (110, 70), (110, 60), (110, 60)]
    # Outside of the stretch above and below the line before and after the crossing.
    slanting = [(80, 140), (80, 135), (205, 85), (210, 80), (210, 80)]
    for points, ours, theirs in ((round_the_end, [], 1), (slanting, ['in'], 0)):
        assert [e[2] for e in _run(ObjectCounter([DOOR]), points)] == ours
        zone = supervision.LineZone(
            supervision.Point(100, 100),
            supervision.Point(200, 100),
            triggering_anchors=[supervision.Position.BOTTOM_CENTER],
        )
        for i, point in enumerate(points):
            zone.trigger(_frame(i + 1, [point]).detections)
        assert zone.in_count == theirs


def test_boxes_that_jump_count_nothing():
    points = [(150, 60)] * 5 + [(150, 140)] + [(150, 60)] * 5
    zones = [YARD]
    assert _run(ObjectCounter([DOOR]), points) == []
    away = [(30, 60)] * 5 + [(150, 100)] + [(30, 60)] * 5
    assert _run(ObjectCounter(zones=zones), away) == []
    inside = [(150, 100)] * 5 + [(30, 60)] + [(150, 100)] * 5
    assert _run(ObjectCounter(zones=zones), inside) == [
        (1, 'yard', 'enter'),
        (11, 'yard', 'end'),
    ]


def test_who_stands_on_the_line_counts_once_at_most():
    rng = np.random.default_rng(1)
    for _ in range(20):
        y = 100 + 0.01 * 100 * rng.normal(size=300)
        points = [(150, 60)] * 3 + [(150, v) for v in y] + [(150, 140)] * 3
        events = [e[2] for e in _run(ObjectCounter([DOOR]), points, size=100)]
        assert events == ['out']


def test_unconfirmed_objects_do_not_count_and_confirmed_ones_do_from_the_start():
    points = [(150, 80), (150, 120), (150, 120)]
    assert _run(ObjectCounter([DOOR]), points[:2]) == []
    assert _run(ObjectCounter([DOOR]), points) == [(2, 'door', 'out')]
    assert _run(ObjectCounter(zones=[YARD]), points[:2]) == []
    late = ObjectCounter([DOOR], min_frames=6)
    assert _run(late, points + [(150, 130)] * 2) == []
    assert late.counts.inside == {}
    late.reset()
    assert _run(late, points + [(150, 130)] * 3) == [(2, 'door', 'out')]


def test_identities_that_return_start_anew():
    before, after = [(150, 60)] * 5, [(150, 140)] * 5
    for missing, events in ((4, ['out']), (5, [])):
        counter = ObjectCounter([DOOR], max_gap=4)
        points = [*before, *[None] * missing, *after]
        assert [e[2] for e in _run(counter, points)] == events
    # In a zone: two visits, the first of which ended where it was last seen.
    points = [*[(150, 100)] * 5, *[None] * 9, *[(150, 100)] * 5]
    counter = ObjectCounter(zones=[YARD], max_gap=4)
    times = [0.5 * i for i in range(len(points))]
    assert _run(counter, points, times) == [
        (1, 'yard', 'enter'),
        (5, 'yard', 'lost'),
        (15, 'yard', 'enter'),
        (19, 'yard', 'end'),
    ]
    assert counter.counts.mean_seconds('yard') == 2.0
    # What was left behind is forgotten.
    counter.reset()
    for number in range(1, 300):
        frame = _frame(number, [None] * number + [(150, 100)])
        counter.update(frame)
    assert len(counter._paths) <= 6


def test_dwell_is_that_of_a_brute_force_over_time_stamps():
    """Random walks and uneven times; membership by matplotlib, visits by hand."""
    rng = np.random.default_rng(3)
    polygon = [(80, 30), (240, 40), (180, 100), (250, 180), (60, 160)]
    zone = CountingZone('yard', (tuple(polygon),))
    visits = 0
    for _ in range(20):
        points = np.cumsum(rng.normal(0, 12, (60, 2)), axis=0) + [150, 100]
        points = np.clip(points, 1, [298, 198]) + 0.37
        times = np.cumsum(rng.uniform(0.01, 0.4, 60))
        inside = Polygon(polygon).contains_points(points)
        spent, entered = [], None
        for now, time in zip(inside, times, strict=True):
            if now and entered is None:
                entered = time
            elif not now and entered is not None:
                spent.append(time - entered)
                entered = None
        if entered is not None:
            spent.append(times[-1] - entered)
        counter = ObjectCounter(zones=[zone], **EXACT)
        events = _run(counter, points.tolist(), times)
        counts = counter.counts
        assert counts.total('yard', 'enter') == len(spent)
        assert sum(e[2] != 'enter' for e in events) == len(spent)
        found = [counts.total_seconds('yard', e) or 0 for e in ('leave', 'end')]
        np.testing.assert_allclose(sum(found), sum(spent))
        visits += len(spent)
    assert visits > 40


def test_a_hole_is_outside():
    hole = ((130, 80), (170, 80), (170, 120), (130, 120))
    zone = CountingZone('ring', (*YARD.rings, hole))
    points = [(110, 60), (150, 100), (110, 140), (10, 10)]
    events = _run(ObjectCounter(zones=[zone], **EXACT), points)
    assert [e[2] for e in events] == ['enter', 'leave', 'enter', 'leave']


def test_gaps_in_frame_numbers_and_times():
    """Frames that a camera dropped: the way goes on, and time is that of the stamps."""
    counter = ObjectCounter([DOOR], [YARD])
    for number, y in ((1, 60), (2, 70), (3, 80), (90, 120), (91, 130), (92, 140)):
        counter.update(_frame(number, [(150, y)], time=number / 30))
    counts = counter.finish()
    assert counts.total('door', 'out') == 1
    assert counts.total_seconds('yard', 'end') == pytest.approx(91 / 30)
    # Without time stamps: by number and rate, or not at all.
    for rate, seconds in ((30, 91 / 30), (None, None)):
        counter = ObjectCounter(zones=[YARD], frame_rate=rate)
        for number in (1, 2, 3, 92):
            counter.update(_frame(number, [(150, 100)]))
        found = counter.finish().total_seconds('yard', 'end')
        assert found == (None if rate is None else pytest.approx(seconds))


def test_classes_are_those_that_objects_mostly_have():
    counter = ObjectCounter([DOOR])
    for number, y in enumerate([60, 70, 80, 120, 130, 140], start=1):
        flickering = 2 if number == 4 else 0
        frame = _frame(number, [(120, y), (150, y), (180, y)], None, [flickering, 1, 0])
        counter.update(frame)
    counts = counter.finish()
    assert counts.total('door', 'out', 0) == 2
    assert counts.total('door', 'out', 1) == 1
    assert counts.total('door', 'out', 2) == 0
    assert counts.total('door', 'out') == 3


def test_fractions_follow_the_size_of_the_frames():
    half = CountingLine('door', (0, 0.5), (1, 0.5))
    np.testing.assert_array_equal(half.resolve(300, 200), [[0, 100], [300, 100]])
    assert _run(ObjectCounter([half]), [(150, 80)] * 3 + [(150, 120)] * 3)
    pixels = CountingLine('door', (0, 0.5), (2.5, 0.5))
    np.testing.assert_array_equal(pixels.resolve(300, 200), [[0, 0.5], [2.5, 0.5]])


def test_csv_holds_events_and_totals(tmp_path):
    counter = ObjectCounter([DOOR], [YARD])
    facts = VideoFacts('video', 10.0, ('person', 'car'))
    (output,) = plan_counts(tmp_path / 'counts.csv', facts, counter)
    for number, y in enumerate([60, 70, 80, 120, 130, 160, 170], start=1):
        frame = _frame(number, [(150, y), (180, 90)], (number - 1) / 10, [1, 0])
        counts = counter.update(frame)
        output.write(
            TrackedFrame(
                frame.index, IMAGE, frame.tracks, time=frame.time, counts=counts
            )
        )
    path = output.finish(complete=True)
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding='utf-8'))))
    events = [row for row in rows if row['row'] == 'event']
    keys = 'frame', 'time', 'name', 'event', 'id', 'category', 'seconds'
    assert [tuple(row[key] for key in keys) for row in events] == [
        ('1', '0.0', 'yard', 'enter', '1', 'car', ''),
        ('1', '0.0', 'yard', 'enter', '2', 'person', ''),
        ('4', '0.3', 'door', 'out', '1', 'car', ''),
        ('6', '0.5', 'yard', 'leave', '1', 'car', '0.5'),
        ('7', '0.6', 'yard', 'end', '2', 'person', '0.6'),
    ]
    totals = {
        (row['name'], row['event'], row['category']): (row['count'], row['seconds'])
        for row in rows
        if row['row'] == 'total'
    }
    assert len(totals) == 6 * 3  # of all and of both classes
    assert totals['door', 'out', 'all'] == totals['door', 'out', 'car'] == ('1', '')
    assert totals['door', 'in', 'all'] == ('0', '')
    assert totals['yard', 'enter', 'all'] == ('2', '')
    assert totals['yard', 'leave', 'car'] == ('1', '0.5')
    assert totals['yard', 'end', 'person'] == ('1', '0.6')
    # Events sum up to the totals.
    sums = Counter((row['name'], row['event']) for row in events)
    for (name, event, category), (count, _) in totals.items():
        if category == 'all':
            assert sums[name, event] == int(count)


def test_counts_are_drawn():
    counter = ObjectCounter([DOOR], [YARD])
    frame = _frame(1, [(250, 190)])
    drawn = frame.draw()
    both = replace(frame, counts=counter.update(frame)).draw()
    assert (IMAGE == 0).all()
    changed = (both != drawn).any(-1)
    assert changed[100, 101:120].all()  # the line,
    assert changed[52:148, 102:120].all()  # the surface of the zone,
    assert changed[90, 150:153].any()  # and the arrow, which points up.
    assert not changed[:45, 210:].any()
