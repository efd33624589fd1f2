# Copyright (c) mmfdta authors.
"""Timelines: who followed whom, and the switches."""

import numpy as np
import pytest

from mmfdta.evaluation.clear import count_clear
from mmfdta.evaluation.events import find_events
from mmfdta.evaluation.matching import find_overlaps
from mmfdta.structures import Sequence, Tracks
from mmfdta.visualization import (
    TimelineRow,
    build_timeline,
    identity_color,
    list_switches,
    plot_timeline,
)


def _boxes(rows):
    frame, identity, x = np.array(rows).T
    xywh = np.stack([x, 0 * x, 0 * x + 10, 0 * x + 10], axis=1)
    return Tracks.create(frame, identity, xywh)


def test_timeline_follows_who_follows_whom():
    gt = _boxes([(f, 1, 0) for f in range(1, 7)] + [(f, 2, 100) for f in (4, 5, 6)])
    pred = _boxes(
        [(1, 8, 0), (2, 8, 1), (4, 9, 0), (5, 9, 0), (6, 8, 0)]
        + [(4, 7, 100), (5, 7, 106), (6, 7, 100)]  # frame 5: IoU below 0.5
    )
    rows = build_timeline(find_events(Sequence('s', 6, gt, pred)))
    assert [row.identity for row in rows] == [1, 2]
    assert rows[0].frames.tolist() == [1, 2, 4, 5, 6]
    assert rows[0].ids.tolist() == [8, 8, 9, 9, 8]
    assert rows[0].switches.tolist() == [4, 6]
    assert rows[1].frames.tolist() == [4, 6] and not len(rows[1].switches)
    assert list_switches(rows) == [
        {'frame': 4, 'identity': 1, 'from': 8, 'to': 9},
        {'frame': 6, 'identity': 1, 'from': 9, 'to': 8},
    ]


def test_switches_are_those_that_clear_counts():
    rng = np.random.default_rng(1)
    total = 0
    for _ in range(20):
        gt, pred = [], []
        for frame in range(1, 16):
            for ids, rows in ((rng.permutation(5), gt), (rng.permutation(6), pred)):
                for identity in ids[: rng.integers(0, 6)]:
                    rows.append((frame, identity, rng.integers(0, 25)))
        sequence = Sequence('s', 15, _boxes(gt), _boxes(pred))
        expected = count_clear(find_overlaps(sequence))
        timeline = build_timeline(find_events(sequence))
        assert len(list_switches(timeline)) == expected.idsw
        assert sum(len(row.frames) for row in timeline) == expected.tp
        total += expected.idsw
    assert total > 100


def test_timeline_uses_the_colors_of_the_video():
    row = TimelineRow(
        identity=3,
        present=np.arange(1, 9),
        frames=np.array([2, 3, 6, 7]),
        ids=np.array([5, 5, 6, 6]),
        switches=np.array([6]),
    )
    figure = plot_timeline([row], 8)
    collections = figure.axes[0].collections
    faces = [tuple(np.rint(c.get_facecolor()[0][:3] * 255)) for c in collections[1:]]
    assert faces == [identity_color(5), identity_color(6)]
    (marks,) = figure.axes[0].get_lines()
    assert marks.get_xdata().tolist() == [5.5]
    assert plot_timeline([], 5).axes


def test_false_positives_stand_below_the_identities():
    row = TimelineRow(3, *(np.arange(1, 3) for _ in range(3)), switches=np.zeros(0))
    figure = plot_timeline([row], 8, false_positives=np.array([2, 5, 5, 5]))
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == ['3', 'FP (up to 3)']
    two, five = figure.axes[0].patches
    assert (two.get_x(), five.get_x()) == (1.5, 4.5)
    assert five.get_height() == pytest.approx(3 * two.get_height())
