# Copyright (c) mmfdta authors.
"""Who followed whom, and when: from ground truth and result to a timeline."""

from pathlib import Path

import numpy as np

from mmfdta.evaluation import Sequence
from mmfdta.evaluation.assignment import pair_bounds, solve_frame
from mmfdta.evaluation.overlap import find_overlaps

from .plots import TimelineRow, plot_timeline, save_figure

_MIN_IOU = 0.5 - np.finfo('float').eps
_KEEP_BONUS = 1000.0


def build_timeline(sequence: Sequence) -> list[TimelineRow]:
    """Follow every ground truth identity through a sequence.

    Matches are those of CLEAR: an IoU of at least 0.5, first what goes on from
    the frame before, then the largest total IoU. So the switches are those
    that IDSW counts.

    Args:
        sequence (Sequence): The rows that are scored.

    Returns:
        list[TimelineRow]: By the identity's first frame.
    """
    overlaps = find_overlaps(sequence)
    gt, pred = sequence.gt.in_frame_order(), sequence.pred.in_frame_order()
    candidate = overlaps.iou >= _MIN_IOU
    gt_id, pred_id = overlaps.gt_id, overlaps.pred_id
    both = np.flatnonzero(
        (np.diff(overlaps.gt.start) > 0) & (np.diff(overlaps.pred.start) > 0)
    )
    chosen = np.zeros(len(candidate), dtype=bool)
    before = np.full(overlaps.gt.num_ids, -1)
    for frame, first, last in zip(both, *pair_bounds(overlaps, both), strict=True):
        pairs = slice(first, last)
        bonus = _KEEP_BONUS * (before[gt_id[pairs]] == pred_id[pairs])
        score = np.where(candidate[pairs], overlaps.iou[pairs] + bonus, 0.0)
        chosen[pairs] = candidate[pairs] & solve_frame(overlaps, frame, pairs, score)
        before[:] = -1
        kept = first + np.flatnonzero(chosen[pairs])
        before[gt_id[kept]] = pred_id[kept]
    gt_row, pred_row = overlaps.gt_row[chosen], overlaps.pred_row[chosen]
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
