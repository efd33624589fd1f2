# Copyright (c) mmfdta authors.
"""Who followed whom, and when: from the events of a sequence to a timeline."""

from collections import Counter
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mmfdta.evaluation.events import Events

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
        switches: int (S,), frames in which the result identity changes.
    """

    identity: int
    present: np.ndarray
    frames: np.ndarray
    ids: np.ndarray
    switches: np.ndarray


def plot_timeline(
    rows: SequenceOf[TimelineRow],
    num_frames: int,
    title: str = '',
    false_positives: np.ndarray | None = None,
) -> Figure:
    """Draw a line for each ground truth identity, coloured by who follows it.

    Grey is where the identity is there and not found, a miss; a black line is an
    identity switch. The colours are those of the annotated video. Below stand
    the false positives per frame.

    Args:
        rows: From the top down.
        num_frames: Length of the sequence.
        title: Above the plot.
        false_positives: int (P,), the frame of each.
    """
    figure, (axis,) = new_figure(11, max(2.0, 1.0 + 0.2 * len(rows)))
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
    labels = [str(row.identity) for row in rows]
    if false_positives is not None and len(false_positives):
        frames, counts = np.unique(false_positives, return_counts=True)
        heights = 0.84 * counts / counts.max()
        axis.bar(frames, -heights, 1, bottom=len(rows) + 0.42, color='0.35')
        labels.append(f'FP (up to {counts.max()})')
    axis.set_yticks(range(len(labels)), labels, fontsize=7)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.set_xlim(0.5, num_frames + 0.5)
    axis.set_xlabel('frame')
    axis.set_ylabel('ground truth identity')
    tidy(axis, title, grid='x')
    return figure


def build_timeline(events: Events) -> list[TimelineRow]:
    """Follow every ground truth identity through the events of a sequence.

    Rows are sorted by the identity's first frame.
    """
    present = events.select('MATCH', 'SWITCH', 'MISS')
    rows = []
    for identity in np.unique(present.gt_id):
        of_identity = present.select_rows(present.gt_id == identity)
        found = of_identity.select('MATCH', 'SWITCH')
        rows.append(
            TimelineRow(
                identity=int(identity),
                present=of_identity.frame,
                frames=found.frame,
                ids=found.pred_id.astype(int),
                switches=found.frame[found.type == 'SWITCH'],
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
            'from': int(row.ids[place - 1]),
            'to': int(row.ids[place]),
        }
        for row in rows
        for frame, place in zip(
            row.switches, np.searchsorted(row.frames, row.switches), strict=True
        )
    ]
    return sorted(switches, key=lambda switch: (switch['frame'], switch['identity']))


def save_timeline(name: str, events: Events, path: Path) -> list[dict]:
    """Draw the timeline of the sequence with this name into a file.

    Returns:
        Its switches, see :func:`list_switches`.
    """
    rows = build_timeline(events)
    figure = plot_timeline(
        rows,
        num_frames=int(events.frame.max(initial=1)),
        title=f'{name}: {len(rows)} identities, {describe_errors(events)}',
        false_positives=events.select('FP').frame,
    )
    save_figure(figure, path)
    return list_switches(rows)


def describe_errors(events: Events) -> str:
    """Say how many switches, misses and false positives there are."""
    count = Counter(events.type.tolist())
    return (
        f'{count["SWITCH"]} switches, {count["MISS"]} misses, {count["FP"]} false '
        'positives'
    )


def _runs(frames: np.ndarray) -> list[tuple[float, float]]:
    """Turn ascending frames into (start, width) of runs without gaps."""
    if not len(frames):
        return []
    parts = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    return [(float(part[0]) - 0.5, float(len(part))) for part in parts]
