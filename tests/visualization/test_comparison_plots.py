# Copyright (c) mmfdta authors.
"""What the figures that compare trackers show."""

import numpy as np
import pytest

from mmfdta.visualization import (
    DifferenceRow,
    TrackerPoint,
    plot_differences,
    plot_plane,
    save_figure,
)

POINTS = [TrackerPoint('A', 60.0, 40.0, 0), TrackerPoint('B', 75.0, 30.0, 1)]


def markers(axis, marker: str) -> list[tuple[float, float]]:
    lines = [line for line in axis.lines if line.get_marker() == marker]
    return [tuple(point) for line in lines for point in line.get_xydata().tolist()]


def test_every_tracker_has_its_place_and_name():
    axis = plot_plane(POINTS, ('DetA', 'AssA')).axes[0]
    assert markers(axis, 'o') == [(60, 40), (75, 30)]
    texts = {text.get_text(): text.xy for text in axis.texts}
    assert texts == dict(A=(60, 40), B=(75, 30))
    assert (axis.get_xlabel(), axis.get_ylabel()) == ('DetA', 'AssA')


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
