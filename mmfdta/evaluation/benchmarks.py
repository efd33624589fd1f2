# Copyright (c) mmfdta authors.
"""Which boxes a benchmark scores."""

import numpy as np

from mmfdta.structures.benchmarks import Benchmark, get_benchmark
from mmfdta.structures.tracks import Sequence

from .assignment import match_frames
from .overlap import EPS, find_overlaps


def select_scored(sequence: Sequence, benchmark: str | Benchmark) -> Sequence:
    """Keep the boxes that a benchmark scores.

    Ground truth rows with a column 7 of 0 are never scored. With distractors
    (MOT17 and its relatives) results are first matched with all of the ground
    truth at an IoU of 0.5, those on a distractor are taken out, and of the
    ground truth the pedestrians stay.

    Args:
        sequence: All rows.
        benchmark: The rules, or their name.

    Returns:
        The rows to score.

    Raises:
        ValueError: If classes are found that the benchmark has not, or there is
            no such benchmark.
    """
    if isinstance(benchmark, str):
        benchmark = get_benchmark(benchmark)
    gt, pred = sequence.gt, sequence.pred
    keep = gt.score != 0
    if benchmark.scored_class is not None:
        _check_classes(sequence, benchmark)
        pred = pred.in_frame_order()
        pred = pred.select(~_on_distractor(sequence, benchmark))
        keep &= gt.label == benchmark.scored_class
    return Sequence(sequence.name, sequence.num_frames, gt.select(keep), pred)


def _check_classes(sequence: Sequence, benchmark: Benchmark) -> None:
    known, scored = benchmark.known_classes, benchmark.scored_class
    strange = np.setdiff1d(sequence.gt.label, known)
    if len(strange):
        raise ValueError(
            f'{sequence.name}: found ground truth of class {strange[0]}, expected '
            f'the classes {known[0]} to {known[-1]} of {benchmark.name} in column 8; '
            'for other data choose benchmark mot_challenge'
        )
    strange = sequence.pred.label[sequence.pred.label > scored]
    if len(strange):
        raise ValueError(
            f'{sequence.name}: found a result of class {strange[0]}, but '
            f'{benchmark.name} scores {benchmark.classes[0]}s only (class {scored}, or '
            '-1 for none)'
        )


def _on_distractor(sequence: Sequence, benchmark: Benchmark) -> np.ndarray:
    """Find results that match a distractor; bool (N,) in frame order."""
    overlaps = find_overlaps(sequence)
    score = np.where(overlaps.iou >= 0.5 - EPS, overlaps.iou, 0.0)
    matched = match_frames(overlaps, score) & (score > 0)
    label = sequence.gt.in_frame_order().label
    hit = matched & np.isin(label[overlaps.gt_row], benchmark.distractors)
    found = np.zeros(len(sequence.pred), dtype=bool)
    found[overlaps.pred_row[hit]] = True
    return found
