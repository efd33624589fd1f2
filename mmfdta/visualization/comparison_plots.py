# Copyright (c) mmfdta authors.
"""Figures that compare trackers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .plots import new_figure, series_color, tidy


@dataclass(frozen=True)
class TrackerPoint:
    """A tracker in a plane of two figures.

    Attributes:
        name (str): The tracker.
        x (float): Place on the horizontal axis.
        y (float): Place on the vertical axis.
        number (int): Number of its colour.
    """

    name: str
    x: float
    y: float
    number: int


def plot_plane(
    points: Sequence[TrackerPoint],
    labels: tuple[str, str],
    hota_lines: bool = False,
) -> Figure:
    """Draw trackers as points with their names.

    Args:
        points (Sequence[TrackerPoint]): The trackers.
        labels (tuple[str, str]): Of the axes.
        hota_lines (bool): Draw where the geometric mean of both is the same; so
            HOTA is, nearly, that of DetA and AssA.

    Returns:
        Figure: The figure.

    Raises:
        ValueError: If there is no tracker.
    """
    if not points:
        raise ValueError('found no trackers to plot')
    figure, axes = new_figure(6, 4.4)
    axis = axes[0, 0]
    for point, place in zip(points, _name_places(points), strict=True):
        color = series_color(point.number)
        axis.plot(point.x, point.y, 'o', color=color, markersize=7)
        axis.annotate(
            point.name,
            (point.x, point.y),
            xytext=place,
            textcoords='offset points',
            fontsize=8,
            ha='left' if place[0] > 0 else 'right',
        )
    axis.margins(0.18)
    if hota_lines:
        _draw_hota_lines(axis)
    axis.set_xlabel(labels[0])
    axis.set_ylabel(labels[1])
    tidy(axis)
    return figure


def _name_places(points: Sequence[TrackerPoint]) -> list[tuple[int, int]]:
    """Choose where the names stand, so that those of near points do not cover.

    Args:
        points (Sequence[TrackerPoint]): The points.

    Returns:
        list[tuple[int, int]]: Offset of each name from its point, 1/72 inch.
    """
    place = np.array([[p.x, p.y] for p in points])
    near = 0.12 * np.maximum(np.ptp(place, axis=0), 1e-9)
    close = (np.abs(place[:, None] - place) < near).all(2)
    higher = place[:, None, 1] < place[:, 1]
    # From the top of a crowd down: right above, left, right below.
    ranks = (close & higher).sum(1)
    return [((6, 5), (-7, -3), (6, -10))[rank % 3] for rank in ranks.tolist()]


def _draw_hota_lines(axis: Axes) -> None:
    """Lines of equal geometric mean."""
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    left, bottom = max(left, 1.0), max(bottom, 1.0)
    x = np.linspace(left, right, 100)
    ends = np.sqrt(left * bottom), np.sqrt(right * top)
    for level in MaxNLocator(6, prune='both').tick_values(*ends):
        axis.plot(x, level**2 / x, color='0.7', linewidth=0.8, linestyle=':')
        at = np.clip(level**2 / top, left, right)
        axis.text(at, level**2 / at, f'HOTA {level:g}', color='0.5', fontsize=7)
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)


@dataclass(frozen=True)
class DifferenceRow:
    """How a tracker differs from another.

    Attributes:
        of_sequences (np.ndarray): float (S,), difference in each sequence.
        overall (float): Difference over all sequences.
        low (float): Lower end of its interval.
        high (float): Upper end.
        number (int): Number of the tracker's colour.
    """

    of_sequences: np.ndarray
    overall: float
    low: float
    high: float
    number: int


def plot_differences(
    rows: Mapping[str, DifferenceRow], reference: str, metric: str, level: float
) -> Figure:
    """Draw differences to a reference: a dot a sequence, a bar for all.

    Args:
        rows (Mapping[str, DifferenceRow]): By tracker, fractions of 1.
        reference (str): The tracker they are compared with.
        metric (str): What is compared.
        level (float): Confidence level of the intervals.

    Returns:
        Figure: The figure.
    """
    figure, axes = new_figure(7.5, 1.4 + 0.5 * len(rows))
    axis = axes[0, 0]
    for y, row in enumerate(rows.values()):
        color = series_color(row.number)
        spread = np.linspace(-0.18, 0.18, len(row.of_sequences) + 2)[1:-1]
        order = np.argsort(np.argsort(row.of_sequences))
        axis.plot(
            100 * row.of_sequences, y + spread[order], '.', color=color, alpha=0.45
        )
        axis.plot([100 * row.low, 100 * row.high], [y, y], color=color, linewidth=3)
        axis.plot(100 * row.overall, y, 'D', color=color, markersize=7)
    axis.axvline(0, color='0.3', linewidth=1)
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel(f'difference in {metric} to {reference}, percent')
    title = f'dots: sequences; diamond: all of them; bar: its {level:.0%} interval'
    tidy(axis, title, grid='x')
    return figure
