# Copyright (c) mmfdta authors.
"""Figures: what is in them, and that a file is whole or not there."""

import numpy as np
import pytest

from mmfdta.evaluation import Sequence, Tracks
from mmfdta.evaluation.clear import count_clear
from mmfdta.evaluation.overlap import find_overlaps
from mmfdta.visualization import (
    SimilarityPanel,
    TimelineRow,
    build_timeline,
    identity_color,
    list_switches,
    plot_hota_curves,
    plot_scores,
    plot_similarity,
    plot_timeline,
    save_figure,
)


def test_bars_have_the_scores_as_height():
    scores = {'A': dict(HOTA=0.5, MOTA=-0.25), 'B': dict(HOTA=0.75, MOTA=0.9)}
    figure = plot_scores(scores, metrics=('HOTA', 'MOTA'), title='t')
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    assert heights == [50, -25, 75, 90]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['A', 'B']
    with pytest.raises(ValueError, match="'B' has no score IDF1"):
        plot_scores({'B': dict(HOTA=1.0)}, metrics=('HOTA', 'IDF1'))
    with pytest.raises(ValueError, match='no trackers'):
        plot_scores({})


def test_curves_go_through_the_values():
    alphas = np.linspace(0.05, 0.95, 19)
    curves = {'A': dict(HOTA=1 - alphas, AssA=alphas)}
    figure = plot_hota_curves(curves, alphas, metrics=('HOTA', 'AssA'))
    for axis, expected in zip(figure.axes, (1 - alphas, alphas), strict=True):
        (line,) = axis.get_lines()
        np.testing.assert_allclose(line.get_ydata(), 100 * expected)


def test_similarity_is_in_percent_of_pairs():
    edges = np.linspace(-1, 1, 5)
    counts = np.array([1, 0, 0, 3])
    panel = SimilarityPanel('x', edges, counts, np.zeros(4, int), 0.9, 0.75, 0.0)
    figure = plot_similarity([panel])
    values = figure.axes[0].patches[0].get_data().values
    np.testing.assert_allclose(values, [25, 0, 0, 75])
    assert '75.0%' in figure.axes[0].get_title()


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
    rows = build_timeline(Sequence('s', 6, gt, pred))
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
        timeline = build_timeline(sequence)
        assert len(list_switches(timeline)) == expected.idsw
        assert sum(len(row.frames) for row in timeline) == expected.tp
        total += expected.idsw
    assert total > 100


def test_timeline_uses_the_colors_of_the_video():
    row = TimelineRow(
        3, np.arange(1, 9), np.array([2, 3, 6, 7]), np.array([5, 5, 6, 6])
    )
    figure = plot_timeline([row], 8)
    collections = figure.axes[0].collections
    faces = [tuple(np.rint(c.get_facecolor()[0][:3] * 255)) for c in collections[1:]]
    assert faces == [identity_color(5), identity_color(6)]
    (marks,) = figure.axes[0].get_lines()
    assert marks.get_xdata().tolist() == [5.5]
    assert plot_timeline([], 5).axes


def test_figure_is_whole_or_not_there(tmp_path, monkeypatch):
    figure = plot_scores({'A': dict(HOTA=0.5)}, metrics=('HOTA',))
    path = save_figure(figure, tmp_path / 'deep' / 'a.png')
    before = path.read_bytes()
    assert before.startswith(b'\x89PNG')

    def fail(file, **kwargs):
        file.write(b'half')
        raise OSError('disk full')

    monkeypatch.setattr(figure, 'savefig', fail)
    with pytest.raises(OSError, match='disk full'):
        save_figure(figure, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ['a.png']
