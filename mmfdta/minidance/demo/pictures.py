# Copyright (c) mmfdta authors.
"""Plots and the video of the demo."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from mmfdta.visualization import TrackDrawer, VideoWriter, draw_caption
from mmfdta.visualization.plots import new_figure

from .comparison import Outcome
from .tracking import TrackedSequence

_ZOOM = 3
_FRAME_RATE = 10
_GAP = 6


def write_video(
    path: Path, item: TrackedSequence, left: Outcome, right: Outcome, index: int
) -> None:
    """Draw the tracks of two trackers side by side.

    Args:
        path (Path): The video.
        item (TrackedSequence): The sequence.
        left (Outcome): One tracker.
        right (Outcome): The other.
        index (int): Number of the sequence within the outcomes.
    """
    writer = VideoWriter(path, _FRAME_RATE)
    sides = [
        (o.name, TrackDrawer(channel_order='bgr'), o.tracks[index])
        for o in (left, right)
    ]
    try:
        for number, image_path in enumerate(item.image_paths, start=1):
            image = cv2.imread(image_path)
            image = cv2.resize(
                image, None, fx=_ZOOM, fy=_ZOOM, interpolation=cv2.INTER_CUBIC
            )
            halves = []
            for name, drawer, tracks in sides:
                here = tracks.select(tracks.frame == number)
                half = drawer.draw(image, replace(here, xywh=here.xywh * _ZOOM))
                draw_caption(half, name)
                halves.append(np.pad(half, ((0, 0), (0, _GAP), (0, 0))))
            writer.write(np.hstack(halves)[:, :-_GAP])
        writer.finish()
    finally:
        writer.discard()


def read_losses(work_dir: Path) -> dict[str, np.ndarray]:
    """Read the losses that MMEngine logged, of all runs in a folder.

    Args:
        work_dir (Path): Work dir of a training.

    Returns:
        dict[str, np.ndarray]: Loss -> (n, 2), iterations and values. Losses of
        the earlier decoder layers are left out.
    """
    points: dict[str, dict[int, float]] = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in path.read_text(encoding='utf-8').splitlines():
            row = json.loads(line)
            for name, value in row.items():
                if name.startswith('loss_'):
                    points.setdefault(name, {})[row['step']] = value
    return {name: np.array(sorted(line.items())) for name, line in points.items()}


def plot_training(runs: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Draw the losses over the iterations, a panel for each training.

    Args:
        runs (dict): Title -> what :func:`read_losses` gave.

    Returns:
        Figure: The figure.
    """
    figure, axes = new_figure(5.2 * len(runs), 3.8, columns=len(runs))
    for axis, (title, losses) in zip(axes[0], runs.items(), strict=True):
        for name, line in losses.items():
            axis.plot(*line.T, label=name.removeprefix('loss_'), linewidth=1.4)
        axis.set(title=title, xlabel='iteration', ylabel='loss', yscale='log')
        axis.grid(True, color='0.88')
        axis.legend(frameon=False, fontsize=8)
    return figure
