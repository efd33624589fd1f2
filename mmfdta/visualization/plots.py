# Copyright (c) mmfdta authors.
"""Figures of scores and comparisons, drawn without a display."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from mmfdta.structures.whole_files import open_whole

_SERIES = (
    *('#0072b2', '#e69f00', '#009e73', '#cc79a7'),
    *('#56b4e9', '#d55e00', '#555555', '#8c564b'),
)
# Panels that a page can show next to each other.
_IN_A_ROW = 4
_GRID: dict[str, Any] = dict(color='0.88', linewidth=0.8)


def new_figure(
    width: float, height: float, columns: int = 1, rows: int = 1
) -> tuple[Figure, list[Axes]]:
    """Make a figure, in inches, that no display or global state knows of.

    Its axes go from left to right, row by row.
    """
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def save_figure(
    figure: Figure,
    path: str | os.PathLike,
    dpi: int = 150,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a figure; under its name stands a complete file or the earlier one.

    The suffix of the path, png, pdf or svg, decides the format, and which keys of
    metadata it takes; folders are made.
    """
    path = Path(path)
    with open_whole(path) as file:
        kind = path.suffix[1:] or None
        figure.savefig(file, dpi=dpi, format=kind, metadata=metadata)
    return path


def plot_scores(
    scores: Mapping[str, Mapping[str, float]],
    metrics: Sequence[str] = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1'),
    title: str = '',
) -> Figure:
    """Draw scores as groups of bars, a group for each metric, a bar for each tracker.

    Args:
        scores: Tracker -> metric -> fraction of 1.
        metrics: The groups, in this order.
        title: Above the plot.

    Raises:
        ValueError: If there is no tracker, or one lacks a metric.
    """
    if not scores:
        raise ValueError('found no trackers to plot')
    for name, values in scores.items():
        missing = [metric for metric in metrics if metric not in values]
        if missing:
            raise ValueError(f'tracker {name!r} has no score {", ".join(missing)}')
    width = 0.84 / len(scores)
    inches = max(6.0, 0.42 * len(metrics) * (len(scores) + 1))
    figure, (axis,) = new_figure(inches, 4)
    places = np.arange(len(metrics), dtype=float)
    for i, (name, values) in enumerate(scores.items()):
        heights = [100 * values[metric] for metric in metrics]
        shift = (i - (len(scores) - 1) / 2) * width
        bars = axis.bar(
            places + shift, heights, 0.92 * width, label=name, color=series_color(i)
        )
        axis.bar_label(bars, fmt='%.1f', fontsize=7, padding=2)
    axis.set_xticks(places, metrics)
    axis.set_ylabel('percent')
    lowest = min(0.0, *(100 * values[m] for values in scores.values() for m in metrics))
    axis.set_ylim(lowest, None)
    tidy(axis, title, grid='y')
    _legend_below(figure, len(scores))
    return figure


def plot_hota_curves(
    curves: Mapping[str, Mapping[str, np.ndarray]],
    alphas: np.ndarray,
    metrics: Sequence[str] = ('HOTA', 'DetA', 'AssA'),
    title: str = '',
) -> Figure:
    """Draw scores of the HOTA family over the localisation threshold.

    Args:
        curves: Tracker -> metric -> (A,), fractions of 1.
        alphas: (A,), the thresholds.
        metrics: One panel each.
        title: Above the plot.
    """
    figure, axes = new_figure(3.4 * len(metrics), 3.8, columns=len(metrics))
    for axis, metric in zip(axes, metrics, strict=True):
        for i, (name, values) in enumerate(curves.items()):
            curve = 100 * np.asarray(values[metric])
            label = name if metric == metrics[0] else None
            axis.plot(alphas, curve, color=series_color(i), marker='.', label=label)
        axis.set_xlabel('localisation threshold α')
        axis.set_ylim(0, 100)
        tidy(axis, metric)
    axes[0].set_ylabel('percent')
    if title:
        figure.suptitle(title)
    _legend_below(figure, len(curves))
    return figure


@dataclass(frozen=True)
class SimilarityPanel:
    """Distribution of cosine similarities at one stage of a model.

    Attributes:
        title: The stage.
        edges: float (E + 1,), borders of the bins.
        different: int (E,), pairs of different objects.
        same: int (E,), pairs of one object at two times.
        threshold: Marked by a line.
        share_different: Share of the first above the threshold.
        share_same: Share of the second.
    """

    title: str
    edges: np.ndarray
    different: np.ndarray
    same: np.ndarray
    threshold: float
    share_different: float
    share_same: float


def plot_similarity(panels: Sequence[SimilarityPanel], title: str = '') -> Figure:
    """Draw histograms of similarities, a panel for each stage.

    Args:
        panels: From left to right, in as few rows of at most four as hold them.
        title: Above the plot.
    """
    rows = -(-len(panels) // _IN_A_ROW)
    columns = -(-len(panels) // rows)
    figure, axes = new_figure(3.6 * columns, 0.4 + 3.4 * rows, columns, rows)
    for axis in axes[len(panels) :]:
        axis.remove()
    sides = (
        ('different', 'different objects, same frame', _SERIES[5]),
        ('same', 'same object, other frame', _SERIES[0]),
    )
    for axis, panel in zip(axes, panels, strict=False):
        for name, label, color in sides:
            counts = getattr(panel, name)
            share = 100 * counts / max(1, counts.sum())
            shown = label if panel is panels[0] else None
            axis.stairs(
                share, panel.edges, fill=True, alpha=0.45, color=color, label=shown
            )
            axis.stairs(share, panel.edges, color=color)
        axis.axvline(panel.threshold, color='0.3', linestyle=':')
        axis.set_xlabel('cosine similarity')
        summary = (
            f'above {panel.threshold:g}: different {panel.share_different:.1%}, '
            f'same {panel.share_same:.1%}'
        )
        tidy(axis, f'{panel.title}\n{summary}')
    for axis in axes[::columns]:
        axis.set_ylabel('percent of pairs')
    if title:
        figure.suptitle(title)
    _legend_below(figure, 2)
    return figure


@dataclass(frozen=True)
class EffectPanel:
    """What a setting of a tracker does to its scores.

    Attributes:
        title: The setting.
        values: float (V,), ascending.
        hota: float (V,), fractions of 1.
        switches: int (V,), identity switches.
        present: The value that the config has.
    """

    title: str
    values: np.ndarray
    hota: np.ndarray
    switches: np.ndarray
    present: float


def plot_effects(panels: Sequence[EffectPanel], title: str = '') -> Figure:
    """Draw HOTA and identity switches over the values of settings, a panel for each.

    All panels have the same scales, so that the settings can be compared.

    Args:
        panels: From left to right.
        title: Above the plot.
    """
    figure, axes = new_figure(3.4 * len(panels), 3.4, columns=len(panels))
    hota = 100 * np.concatenate([panel.hota for panel in panels])
    most = max(1, *(int(panel.switches.max()) for panel in panels))
    for axis, panel in zip(axes, panels, strict=True):
        other = axis.twinx()
        is_first, is_last = panel is panels[0], panel is panels[-1]
        other.plot(
            panel.values,
            panel.switches,
            color=_SERIES[1],
            marker='s',
            markersize=4,
            linestyle='--',
            label='identity switches' if is_first else None,
        )
        label = 'HOTA' if is_first else None
        axis.plot(panel.values, 100 * panel.hota, '-o', color=_SERIES[0], label=label)
        axis.axvline(panel.present, color='0.3', linestyle=':')
        axis.set_ylim(hota.min() - 1, hota.max() + 1)
        other.set_ylim(0, 1.1 * most)
        other.spines['top'].set_visible(False)
        other.tick_params(labelright=is_last)
        axis.tick_params(labelleft=is_first)
        axis.set_xlabel(panel.title)
        axis.set_zorder(other.get_zorder() + 1)
        axis.patch.set_visible(False)
        tidy(axis)
        if is_last:
            other.set_ylabel('identity switches')
    axes[0].set_ylabel('HOTA, percent')
    if title:
        figure.suptitle(title)
    _legend_below(figure, 2)
    return figure


def plot_shares(counts: Mapping[str, int], unit: str, title: str = '') -> Figure:
    """Draw counts of one whole as bars with their number and share.

    Args:
        counts: By name, from the top down.
        unit: What is counted.
        title: Above the plot.
    """
    figure, (axis,) = new_figure(7.5, 0.9 + 0.34 * len(counts))
    values = np.array(list(counts.values()))
    bars = axis.barh(np.arange(len(counts)), values, 0.7, color=_SERIES[0])
    total = max(1, int(values.sum()))
    labels = [f'{value} ({value / total:.0%})' for value in values.tolist()]
    axis.bar_label(bars, labels, fontsize=8, padding=3)
    axis.set_yticks(np.arange(len(counts)), list(counts))
    axis.set_ylim(len(counts) - 0.5, -0.5)
    axis.set_xlim(0, 1.2 * max(1, values.max(initial=0)))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel(unit)
    tidy(axis, title, grid='x')
    return figure


class TrackerPoint(NamedTuple):
    """A tracker in a plane of two figures; its number chooses the colour."""

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
        points: The trackers.
        labels: Of the axes.
        hota_lines: Draw where the geometric mean of both is the same; so
            HOTA is, nearly, that of DetA and AssA.

    Raises:
        ValueError: If there is no tracker.
    """
    if not points:
        raise ValueError('found no trackers to plot')
    figure, (axis,) = new_figure(6, 4.4)
    names = []
    for point in points:
        color = series_color(point.number)
        axis.plot(point.x, point.y, 'o', color=color, markersize=7)
        name = axis.annotate(
            point.name,
            (point.x, point.y),
            xytext=(0, 0),
            textcoords='offset points',
            fontsize=8,
        )
        names.append(name)
    axis.margins(0.18)
    if hota_lines:
        _draw_hota_lines(axis)
    axis.set_xlabel(labels[0])
    axis.set_ylabel(labels[1])
    tidy(axis)
    _place_names(axis, names)
    return figure


# Where the name of a point may be: offset in 1/72 inch, and alignment.
_NAME_PLACES = (
    ((6, 5), 'left', 'bottom'),
    ((-6, 5), 'right', 'bottom'),
    ((6, -5), 'left', 'top'),
    ((-6, -5), 'right', 'top'),
    ((0, 9), 'center', 'bottom'),
    ((0, -9), 'center', 'top'),
    ((6, 18), 'left', 'bottom'),
    ((6, -18), 'left', 'top'),
    ((-6, 18), 'right', 'bottom'),
    ((-6, -18), 'right', 'top'),
)
_POINT_RADIUS = 5  # 1/72 inch, with some space around it


def _place_names(axis: Axes, names: Sequence[Annotation]) -> None:
    """Put names next to their points, where they cover no other name or point.

    If possible, the point next to a name is its own. A name for which no place is free
    is above its point on the right.
    """
    # The layout decides where points are in pixels.
    figure = axis.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    radius = _POINT_RADIUS * figure.dpi / 72
    points = axis.transData.transform([name.xy for name in names])
    taken = [Bbox([point - radius, point + radius]) for point in points]

    def put(name: Annotation, place: int) -> Bbox:
        offset, horizontal, vertical = _NAME_PLACES[place]
        name.set(position=offset, ha=horizontal, va=vertical)
        return name.get_window_extent()

    for number, name in enumerate(names):
        free = []
        for place in range(len(_NAME_PLACES)):
            box = put(name, place)
            inside = axis.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
            away = np.maximum(box.min - points, points - box.max).clip(0)
            nearest = np.hypot(*away.T).argmin()
            if inside and not box.count_overlaps(taken):
                free.append((nearest != number, place))
        taken.append(put(name, min(free)[1] if free else 0))


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
        of_sequences: float (S,), difference in each sequence, or with each seed.
        overall: Difference over all of them.
        low: Lower end of its interval.
        high: Upper end.
        number: Number of the tracker's colour.
    """

    of_sequences: np.ndarray
    overall: float
    low: float
    high: float
    number: int


def plot_differences(
    rows: Mapping[str, DifferenceRow], reference: str, metric: str, level: float
) -> Figure:
    """Draw differences to a reference: a dot for each sequence, a bar for all.

    Args:
        rows: By tracker, fractions of 1.
        reference: The tracker they are compared with.
        metric: What is compared.
        level: Confidence level of the intervals.
    """
    figure, (axis,) = new_figure(7.5, 1.4 + 0.5 * len(rows))
    _draw_differences(axis, rows)
    axis.set_xlabel(f'difference in {metric} to {reference}, percent')
    title = f'dots: sequences; diamond: all of them; bar: its {level:.0%} interval'
    tidy(axis, title, grid='x')
    return figure


def plot_paired(
    panels: Mapping[str, Mapping[str, DifferenceRow]], reference: str, level: float
) -> Figure:
    """Draw mean differences to a reference over seeds, a panel for each score.

    Args:
        panels: Score -> variant -> differences by seed and their mean; the variants are
            the same in all panels.
        reference: The variant they are compared with.
        level: Confidence level of the intervals; where an end is NaN there is none.
    """
    variants = len(next(iter(panels.values())))
    figure, axes = new_figure(
        2.4 + 2.4 * len(panels), 1.6 + 0.4 * variants, columns=len(panels)
    )
    for axis, (score, rows) in zip(axes, panels.items(), strict=True):
        _draw_differences(axis, rows)
        tidy(axis, score, grid='x')
        if axis is not axes[0]:
            axis.set_yticklabels([])
    figure.supxlabel(f'difference to {reference}, percent', fontsize=10)
    figure.suptitle(
        f'dots: seeds; diamond: their mean; bar: its {level:.0%} interval', fontsize=10
    )
    return figure


def _draw_differences(axis: Axes, rows: Mapping[str, DifferenceRow]) -> None:
    """Draw the rows from top to bottom, and a line at no difference."""
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


def series_color(index: int) -> str:
    """Colour of the tracker with this number in all figures."""
    return _SERIES[index % len(_SERIES)]


def tidy(axis: Axes, title: str = '', grid: Literal['both', 'x', 'y'] = 'both') -> None:
    """Give axes the grid and the title that all figures have."""
    axis.grid(True, axis=grid, **_GRID)
    axis.set_axisbelow(True)
    axis.spines[['top', 'right']].set_visible(False)
    if title:
        axis.set_title(title, fontsize=10)


def _legend_below(figure: Figure, entries: int) -> None:
    """Put the legend of all axes below, in as many columns as the width holds."""
    handles = [axis.get_legend_handles_labels()[1] for axis in figure.axes]
    # Points that an entry of the usual size takes, with its sign.
    widths = [6 * len(label) + 50 for labels in handles for label in labels]
    columns, width = min(entries, 5), 72 * figure.get_figwidth()
    if widths and sum(widths) > width:
        columns = min(columns, max(1, int(width // max(widths))))
    figure.legend(loc='outside lower center', ncols=columns, frameon=False)
