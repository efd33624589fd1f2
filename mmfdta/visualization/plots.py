# Copyright (c) mmfdta authors.
"""Figures, drawn without a display."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmfdta.structures.whole_files import open_whole

from .colors import identity_color

_SERIES = (
    *('#0072b2', '#e69f00', '#009e73', '#cc79a7'),
    *('#56b4e9', '#d55e00', '#555555', '#8c564b'),
)
_GRID: dict[str, Any] = dict(color='0.88', linewidth=0.8)


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1
) -> tuple[Figure, np.ndarray]:
    """Make an empty figure that no display or global state knows of.

    Args:
        width (float): In inches.
        height (float): In inches.
        rows (int): Rows of axes.
        columns (int): Columns of axes.

    Returns:
        tuple[Figure, np.ndarray]: The figure and its axes (rows, columns).
    """
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def save_figure(figure: Figure, path: str | os.PathLike, dpi: int = 150) -> Path:
    """Write a figure; under its name stands a complete file or the earlier one.

    Args:
        figure (Figure): What to write.
        path (str | os.PathLike): The suffix decides the format (png, pdf, svg);
            folders are made.
        dpi (int): Dots per inch of a raster image.

    Returns:
        Path: The path.
    """
    path = Path(path)
    with open_whole(path) as file:
        figure.savefig(file, dpi=dpi, format=path.suffix[1:] or None)
    return path


def plot_scores(
    scores: Mapping[str, Mapping[str, float]],
    metrics: Sequence[str] = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1'),
    title: str = '',
) -> Figure:
    """Draw scores as groups of bars, one group a metric, one bar a tracker.

    Args:
        scores (Mapping): Tracker -> metric -> fraction of 1.
        metrics (Sequence[str]): The groups, in this order.
        title (str): Above the plot.

    Returns:
        Figure: The figure.

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
    figure, axes = new_figure(inches, 4)
    axis = axes[0, 0]
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
        curves (Mapping): Tracker -> metric -> (A,), fractions of 1.
        alphas (np.ndarray): (A,), the thresholds.
        metrics (Sequence[str]): One panel each.
        title (str): Above the plot.

    Returns:
        Figure: The figure.
    """
    figure, axes = new_figure(3.4 * len(metrics), 3.8, columns=len(metrics))
    for axis, metric in zip(axes[0], metrics, strict=True):
        for i, (name, values) in enumerate(curves.items()):
            curve = 100 * np.asarray(values[metric])
            label = name if metric == metrics[0] else None
            axis.plot(alphas, curve, color=series_color(i), marker='.', label=label)
        axis.set_xlabel('localisation threshold α')
        axis.set_ylim(0, 100)
        tidy(axis, metric)
    axes[0, 0].set_ylabel('percent')
    if title:
        figure.suptitle(title)
    _legend_below(figure, len(curves))
    return figure


@dataclass(frozen=True)
class TimelineRow:
    """Who followed one ground truth identity, and when.

    Attributes:
        identity (int): The ground truth identity.
        present (np.ndarray): int (P,), frames in which it is annotated.
        frames (np.ndarray): int (M,), frames in which it was found, ascending.
        ids (np.ndarray): int (M,), by which result identity.
    """

    identity: int
    present: np.ndarray
    frames: np.ndarray
    ids: np.ndarray

    @property
    def switches(self) -> np.ndarray:
        """np.ndarray: int (S,), frames in which the result identity changes."""
        return self.frames[1:][self.ids[1:] != self.ids[:-1]]


def plot_timeline(
    rows: Sequence[TimelineRow], num_frames: int, title: str = ''
) -> Figure:
    """Draw a line for each ground truth identity, coloured by who follows it.

    Grey is where the identity is there and not found; a black mark is an
    identity switch. The colours are those of the annotated video.

    Args:
        rows (Sequence[TimelineRow]): From the top down.
        num_frames (int): Length of the sequence.
        title (str): Above the plot.

    Returns:
        Figure: The figure.
    """
    figure, axes = new_figure(11, max(2.0, 0.8 + 0.2 * len(rows)))
    axis = axes[0, 0]
    for y, row in enumerate(rows):
        axis.broken_barh(_runs(row.present), (y - 0.18, 0.36), color='0.8')
        for identity in np.unique(row.ids):
            red, green, blue = identity_color(int(identity))
            axis.broken_barh(
                _runs(row.frames[row.ids == identity]),
                (y - 0.38, 0.76),
                color=(red / 255, green / 255, blue / 255),
            )
        places = np.full(len(row.switches), y)
        axis.plot(row.switches - 0.5, places, 'k|', markersize=13, markeredgewidth=1.8)
    axis.set_yticks(range(len(rows)), [str(row.identity) for row in rows], fontsize=7)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlim(0.5, num_frames + 0.5)
    axis.set_xlabel('frame')
    axis.set_ylabel('ground truth identity')
    tidy(axis, title, grid='x')
    return figure


@dataclass(frozen=True)
class SimilarityPanel:
    """Distribution of cosine similarities at one stage of a model.

    Attributes:
        title (str): The stage.
        edges (np.ndarray): float (E + 1,), borders of the bins.
        different (np.ndarray): int (E,), pairs of different objects.
        same (np.ndarray): int (E,), pairs of one object at two times.
        threshold (float): Marked by a line.
        share_different (float): Share of the first above the threshold.
        share_same (float): Share of the second.
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
        panels (Sequence[SimilarityPanel]): From left to right.
        title (str): Above the plot.

    Returns:
        Figure: The figure.
    """
    figure, axes = new_figure(3.6 * len(panels), 3.8, columns=len(panels))
    sides = (
        ('different', 'different objects, same frame', _SERIES[5]),
        ('same', 'same object, other frame', _SERIES[0]),
    )
    for axis, panel in zip(axes[0], panels, strict=True):
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
    axes[0, 0].set_ylabel('percent of pairs')
    if title:
        figure.suptitle(title)
    _legend_below(figure, 2)
    return figure


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
    figure.legend(loc='outside lower center', ncols=min(entries, 5), frameon=False)


def _runs(frames: np.ndarray) -> list[tuple[float, float]]:
    """Turn ascending frames into (start, width) of runs without gaps."""
    if not len(frames):
        return []
    parts = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    return [(float(part[0]) - 0.5, float(len(part))) for part in parts]
