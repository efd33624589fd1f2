# Copyright (c) mmfdta authors.
"""Scenes of all sorts, and the official evaluation run on them."""

from dataclasses import dataclass, replace

import numpy as np
import trackeval
from trackeval.datasets import MotChallenge2DBox

from mmfdta.evaluation import Sequence, Tracks

_QUIET = {'PRINT_CONFIG': False}
METRICS = (
    trackeval.metrics.HOTA(),
    trackeval.metrics.CLEAR(_QUIET),
    trackeval.metrics.Identity(_QUIET),
)
# A sum that only serves to compute MOTP, which is compared.
_NOT_A_SCORE = 'MOTP_sum'


def only_class(sequence: Sequence, label: int) -> Sequence:
    """The boxes of one class, of both sides, and the regions that apply to it."""
    holds = np.isin(sequence.ignored.label, (label, -1))
    return replace(
        sequence,
        gt=sequence.gt.select(sequence.gt.label == label),
        pred=sequence.pred.select(sequence.pred.label == label),
        ignored=sequence.ignored.select(holds),
    )


def official_data(sequence: Sequence) -> dict:
    """Arrange a sequence as the official metric classes want it."""
    gt_ids, gt = np.unique(sequence.gt.identity, return_inverse=True)
    pred_ids, pred = np.unique(sequence.pred.identity, return_inverse=True)
    data = {
        'num_timesteps': sequence.num_frames,
        'num_gt_ids': len(gt_ids),
        'num_tracker_ids': len(pred_ids),
        'num_gt_dets': len(gt),
        'num_tracker_dets': len(pred),
        'gt_ids': [],
        'tracker_ids': [],
        'similarity_scores': [],
        'seq': sequence.name,
    }
    for frame in range(1, sequence.num_frames + 1):
        in_gt, in_pred = sequence.gt.frame == frame, sequence.pred.frame == frame
        data['gt_ids'].append(gt[in_gt])
        data['tracker_ids'].append(pred[in_pred])
        data['similarity_scores'].append(
            MotChallenge2DBox._calculate_box_ious(
                sequence.gt.xywh[in_gt], sequence.pred.xywh[in_pred]
            )
        )
    return data


def official_sequence(sequence: Sequence) -> list[dict]:
    """Score one sequence officially, one dictionary for each metric class."""
    data = official_data(sequence)
    return [metric.eval_sequence(data) for metric in METRICS]


def official_combined(per_sequence: list[list[dict]]) -> list[dict]:
    """Combine the sequences of :func:`official_sequence`."""
    return [
        metric.combine_sequences(
            {i: scores[m] for i, scores in enumerate(per_sequence)}
        )
        for m, metric in enumerate(METRICS)
    ]


def largest_difference(ours: dict, official: list[dict]) -> tuple[float, str]:
    """Compare every official score; the largest difference and its name."""
    differences = [
        (float(np.max(np.abs(np.asarray(ours[name], float) - value))), name)
        for scores in official
        for name, value in scores.items()
        if name != _NOT_A_SCORE
    ]
    return max(differences)


@dataclass(frozen=True)
class SceneStyle:
    """How a random scene looks.

    Attributes:
        boxes (str): ``grid`` (whole numbers in a tiny field: ties, duplicates
            and boxes without area), ``tiled`` (overlapping tiles, half of them
            jittered), ``float`` (anywhere), ``moving`` (smooth tracks, result
            close to the truth).
        max_objects (int): Most objects of either side.
        max_frames (int): Longest scene.
    """

    boxes: str
    max_objects: int = 12
    max_frames: int = 10


STYLES = tuple(SceneStyle(boxes) for boxes in ('grid', 'tiled', 'float', 'moving'))


def random_scene(seed: int, style: SceneStyle, name: str = 'scene') -> Sequence:
    """Draw a scene; frames, or a whole side, may be empty."""
    rng = np.random.default_rng(seed)
    frames = int(rng.integers(1, style.max_frames + 1))
    paths = rng.random((style.max_objects, 4)) * [20, 20, 4, 4] + [0, 0, 4, 4]
    sides = []
    for _ in range(2):
        objects = int(rng.integers(0, style.max_objects + 1))
        kept = rng.choice([0.3, 0.7, 1.0])
        swapped = rng.random() * 0.3
        rows = []
        for frame in range(1, frames + 1):
            identities = np.arange(objects)
            if objects > 1 and rng.random() < swapped:
                i, j = rng.choice(objects, 2, replace=False)
                identities[[i, j]] = identities[[j, i]]
            for i in rng.permutation(objects):
                if rng.random() < kept:
                    box = _draw_box(rng, style.boxes, i, frame, paths[i])
                    rows.append((frame, identities[i] * 3, *box))
        table = np.array(rows, dtype=float).reshape(-1, 6)
        table = table[rng.permutation(len(table))] if rng.random() < 0.5 else table
        sides.append(Tracks.create(table[:, 0], table[:, 1], table[:, 2:]))
    return Sequence(name, frames, *sides)


def _draw_box(rng, boxes: str, i: int, frame: int, path: np.ndarray) -> np.ndarray:
    if boxes == 'grid':
        return rng.integers(0, 4, 4) + [0, 0, 0, 1]
    if boxes == 'tiled':
        jitter = rng.integers(0, 2, 4) * (rng.random() < 0.5)
        return np.array([(i % 5) * 4, frame % 3, 6, 6]) + jitter
    if boxes == 'float':
        return rng.random(4) * 20
    return path + [0.5 * frame, 0, 0, 0] + rng.normal(0, 0.6, 4)
