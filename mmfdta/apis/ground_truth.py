# Copyright (c) mmfdta authors.
"""The annotations of a data set's sequence, as the evaluation takes them."""

import numpy as np

from mmfdta.datasets.sequences import Sequence
from mmfdta.evaluation import TrackBoxes


def ground_truth(sequence: Sequence, mot_classes: bool) -> TrackBoxes:
    """Take a sequence's rows as the metric does.

    Args:
        sequence (Sequence): A sequence of a data set in test mode.
        mot_classes (bool): Take MOTChallenge classes instead of labels.

    Returns:
        TrackBoxes: All rows.

    Raises:
        ValueError: If its ground truth is hidden.
    """
    rows = sequence.annotations
    if rows is None:
        raise ValueError(
            f'sequence {sequence.name!r} has no ground truth to score with; choose '
            'another split'
        )
    frames = np.repeat(np.arange(len(sequence)) + 1, np.diff(rows.offsets))
    category = rows.categories if mot_classes else rows.labels
    return TrackBoxes.create(frames, rows.ids, rows.xywh, rows.marks, category)
