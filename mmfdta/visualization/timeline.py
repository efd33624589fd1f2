# Copyright (c) mmfdta authors.
"""Who followed whom, and when: from ground truth and result to a timeline."""

from pathlib import Path

import numpy as np

from mmfdta.evaluation import Sequence
from mmfdta.evaluation.clear import match_clear
from mmfdta.evaluation.overlap import find_overlaps

from .plots import TimelineRow, plot_timeline, save_figure


def build_timeline(sequence: Sequence) -> list[TimelineRow]:
    """Follow every ground truth identity through a sequence.

    Matches are those of CLEAR, so the switches are those that IDSW counts.

    Args:
        sequence (Sequence): The rows that are scored.

    Returns:
        list[TimelineRow]: By the identity's first frame.
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

    Args:
        rows (list[TimelineRow]): A sequence's timeline.

    Returns:
        list[dict]: ``frame``, ``identity`` (of the ground truth), ``from`` and
        ``to`` (of the result).
    """
    switches = []
    for row in rows:
        at = np.flatnonzero(row.ids[1:] != row.ids[:-1])
        switches += [
            {
                'frame': int(row.frames[i + 1]),
                'identity': row.identity,
                'from': int(row.ids[i]),
                'to': int(row.ids[i + 1]),
            }
            for i in at
        ]
    return sorted(switches, key=lambda switch: (switch['frame'], switch['identity']))


def save_timeline(sequence: Sequence, path: Path) -> list[dict]:
    """Draw a sequence's timeline into a file.

    Args:
        sequence (Sequence): The rows that are scored.
        path (Path): The figure.

    Returns:
        list[dict]: Its switches, see :func:`list_switches`.
    """
    rows = build_timeline(sequence)
    switches = list_switches(rows)
    title = f'{sequence.name}: {len(rows)} identities, {len(switches)} switches'
    save_figure(plot_timeline(rows, sequence.num_frames, title), path)
    return switches
