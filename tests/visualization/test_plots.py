# Copyright (c) mmfdta authors.
"""Figures: what is in them, and that a file is whole or not there."""

import numpy as np
import pytest

from mmfdta.visualization import (
    DifferenceRow,
    SimilarityPanel,
    TrackerPoint,
    plot_differences,
    plot_hota_curves,
    plot_paired,
    plot_plane,
    plot_scores,
    plot_similarity,
    save_figure,
)

POINTS = [TrackerPoint('A', 60.0, 40.0, 0), TrackerPoint('B', 75.0, 30.0, 1)]


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


@pytest.mark.parametrize(
    ('panels', 'shape'), [(1, (1, 1)), (4, (1, 4)), (5, (2, 3)), (10, (3, 4))]
)
def test_similarities_of_many_stages_stand_in_rows(panels, shape):
    edges, pairs = np.linspace(-1, 1, 3), np.ones(2, int)
    figure = plot_similarity(
        [
            SimilarityPanel(str(number), edges, pairs, pairs, 0.9, 0.5, 0.5)
            for number in range(panels)
        ]
    )
    figure.draw_without_rendering()
    boxes = [axis.get_tightbbox() for axis in figure.axes]
    titles = [axis.get_title().splitlines()[0] for axis in figure.axes]
    assert titles == [str(number) for number in range(panels)]
    places = [(-round(box.y0), round(box.x0)) for box in boxes]
    assert places == sorted(places)  # read as a page is
    assert len({axis.get_position().y0 for axis in figure.axes}) == shape[0]
    assert len({axis.get_position().x0 for axis in figure.axes}) == shape[1]
    assert all(not a.overlaps(b) for a in boxes for b in boxes if a is not b)
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert [bool(label) for label in labels] == [
        number % shape[1] == 0 for number in range(panels)
    ]


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


def markers(axis, marker: str) -> list[tuple[float, float]]:
    lines = [line for line in axis.lines if line.get_marker() == marker]
    return [tuple(point) for line in lines for point in line.get_xydata().tolist()]


def test_every_tracker_has_its_place_and_name():
    axis = plot_plane(POINTS, ('DetA', 'AssA')).axes[0]
    assert markers(axis, 'o') == [(60, 40), (75, 30)]
    texts = {text.get_text(): text.xy for text in axis.texts}
    assert texts == dict(A=(60, 40), B=(75, 30))
    assert (axis.get_xlabel(), axis.get_ylabel()) == ('DetA', 'AssA')


def test_names_of_a_crowd_cover_neither_each_other_nor_points():
    places = [(60, 40), (60.4, 40), (60.2, 41), (61, 39), (61, 40), (80, 20)]
    points = [
        TrackerPoint(f'a tracker {n}', x, y, n) for n, (x, y) in enumerate(places)
    ]
    axis = plot_plane(points, ('x', 'y')).axes[0]
    boxes = [text.get_window_extent() for text in axis.texts]
    centres = axis.transData.transform(places)
    for n, box in enumerate(boxes):
        assert box.count_overlaps(boxes) == 1, n  # itself
        assert not box.count_contains(centres), n


def test_lines_join_places_of_one_hota():
    axis = plot_plane(POINTS, ('DetA', 'AssA'), hota_lines=True).axes[0]
    lines = [line for line in axis.lines if line.get_linestyle() == ':']
    assert len(lines) >= 2
    for line in lines:
        x, y = line.get_xydata().T
        np.testing.assert_allclose(x * y, (x * y)[0])
    assert axis.get_xlim()[0] < 60 < 75 < axis.get_xlim()[1]


def test_nobody_cannot_be_drawn():
    with pytest.raises(ValueError, match='no trackers'):
        plot_plane([], ('x', 'y'))


def test_differences_show_each_sequence_and_the_interval(tmp_path):
    row = DifferenceRow(np.array([0.3, -0.1, 0.1]), 0.08, -0.02, 0.2, 2)
    figure = plot_differences({'B': row, 'C': row}, 'A', 'HOTA', 0.95)
    axis = figure.axes[0]
    dots = markers(axis, '.')
    assert [x for x, _ in dots] == [30, -10, 10] * 2
    # Spread upwards in their order, so that equal ones do not hide each other.
    assert np.argsort([y for _, y in dots[:3]]).tolist() == [1, 2, 0]
    assert markers(axis, 'D') == [(8, 0), (8, 1)]
    bars = [
        line.get_xdata().tolist() for line in axis.lines if line.get_linewidth() == 3
    ]
    assert [list(map(float, bar)) for bar in bars] == [[-2, 20]] * 2
    assert 'to A' in axis.get_xlabel()
    assert save_figure(figure, tmp_path / 'd.png').stat().st_size > 1000


def test_paired_differences_have_a_panel_for_each_score():
    some = DifferenceRow(np.array([0.1, 0.3]), 0.2, -1.07, 1.47, 0)
    alone = DifferenceRow(np.array([0.1]), 0.1, np.nan, np.nan, 1)
    figure = plot_paired(
        {'HOTA': {'B': some, 'C': alone}, 'DetA': {'B': alone, 'C': some}}, 'A', 0.95
    )
    assert [axis.get_title() for axis in figure.axes] == ['HOTA', 'DetA']
    for axis, names in zip(figure.axes, (['B', 'C'], ['', '']), strict=True):
        assert [label.get_text() for label in axis.get_yticklabels()] == names
    assert markers(figure.axes[0], 'D') == [(20, 0), (10, 1)]
    assert markers(figure.axes[1], 'D') == [(10, 0), (20, 1)]
    assert 'to A' in figure.get_supxlabel()
