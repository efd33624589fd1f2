# Copyright (c) mmfdta authors.
"""Who followed whom, and when: from ground truth and result to a timeline."""

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mmfdta.evaluation.clear import match_clear
from mmfdta.evaluation.matching import find_overlaps
from mmfdta.structures.tracks import Sequence

from .colors import identity_color
from .plots import new_figure, save_figure, tidy


@dataclass(frozen=True)
class TimelineRow:
    """Who followed one ground truth identity, and when.

    Attributes:
        identity: The ground truth identity.
        present: int (P,), frames in which it is annotated.
        frames: int (M,), frames in which it was found, ascending.
        ids: int (M,), by which result identity.
    """

    identity: int
    present: np.ndarray
    frames: np.ndarray
    ids: np.ndarray

    @property
    def switches(self) -> np.ndarray:
        """Int (S,), frames in which the result identity changes."""
        return self.frames[1:][self.ids[1:] != self.ids[:-1]]


def plot_timeline(
    rows: SequenceOf[TimelineRow], num_frames: int, title: str = ''
) -> Figure:
    """Draw a line for each ground truth identity, coloured by who follows it.

    Grey is where the identity is there and not found; a black line is an
    identity switch. The colours are those of the annotated video.

    Args:
        rows: From the top down.
        num_frames: Length of the sequence.
        title: Above the plot.
    """
    figure, (axis,) = new_figure(11, max(2.0, 0.8 + 0.2 * len(rows)))
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


def build_timeline(sequence: Sequence) -> list[TimelineRow]:
    """Follow every ground truth identity through a sequence.

    Matches are those of CLEAR, so the switches are those that IDSW counts. Rows are
    sorted by the identity's first frame.
    """
    overlaps = find_overlaps(sequence)
    gt, pred = sequence.gt.in_frame_order(), sequence.pred.in_frame_order()
    matched = match_clear(overlaps)
    gt_row, pred_row = overlaps.gt_row[matched], overlaps.pred_row[matched]
    rows = []
    for identity in np.unique(gt.identity):
        found = gt.identity[gt_row] == identity
        rows.append(
            TimelineRow(
                identity=int(identity),
                present=gt.frame[gt.identity == identity],
                frames=gt.frame[gt_row[found]],
                ids=pred.identity[pred_row[found]],
            )
        )
    return sorted(rows, key=lambda row: (row.present[0], row.identity))


def list_switches(rows: list[TimelineRow]) -> list[dict]:
    """List identity switches in order of time.

    Returns:
        ``frame``, ``identity`` (of the ground truth), ``from`` and
        ``to`` (of the result).
    """
    switches = [
        {
            'frame': int(frame),
            'identity': row.identity,
            'from': int(before),
            'to': int(after),
        }
        for row in rows
        for frame, before, after in zip(
            row.frames[1:], row.ids[:-1], row.ids[1:], strict=True
        )
        if before != after
    ]
    return sorted(switches, key=lambda switch: (switch['frame'], switch['identity']))


def save_timeline(sequence: Sequence, path: Path) -> list[dict]:
    """Draw the timeline of a sequence's scored rows into a file.

    Returns:
        Its switches, see :func:`list_switches`.
    """
    rows = build_timeline(sequence)
    switches = list_switches(rows)
    title = f'{sequence.name}: {len(rows)} identities, {len(switches)} switches'
    save_figure(plot_timeline(rows, sequence.num_frames, title), path)
    return switches


def _runs(frames: np.ndarray) -> list[tuple[float, float]]:
    """Turn ascending frames into (start, width) of runs without gaps."""
    if not len(frames):
        return []
    parts = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    return [(float(part[0]) - 0.5, float(len(part))) for part in parts]
