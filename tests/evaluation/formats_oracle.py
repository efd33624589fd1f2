# Copyright (c) mmfdta authors.
"""Scenes with classes, and the official data set classes run on their files."""

from pathlib import Path

import numpy as np

from mmfdta.evaluation import Sequence, Settings, Tracks, evaluate
from mmfdta.evaluation.inputs import Inputs, Tracker, find_trackers
from mmfdta.evaluation.pairing import pair_sides

from .oracle import METRICS, largest_difference

KINDS = ('grid', 'tiled', 'float', 'moving')


def random_boxes(rng: np.random.Generator, kind: str, count: int) -> np.ndarray:
    """Draw boxes (count, 4) as left, top, width, height; sizes above 0."""
    if kind == 'grid':  # ties, copies
        return rng.integers(0, 4, (count, 4)) * 10.0 + [0, 0, 10, 20]
    if kind == 'tiled':
        places = np.stack([np.arange(count) % 5 * 40, np.arange(count) // 5 * 40], 1)
        jitter = rng.integers(-10, 11, (count, 2))
        return np.hstack([places + jitter, np.full((count, 2), 60)]).astype(float)
    boxes = rng.random((count, 4)) * [300, 200, 80, 80] + [0, 0, 5, 5]
    return boxes.round(2)


def random_side(
    rng: np.random.Generator, kind: str, frames: int, paths: np.ndarray, share: float
) -> Tracks:
    """Draw a side: objects come and go, and some change their identity."""
    rows = []
    order = np.arange(len(paths))
    for frame in range(1, frames + 1):
        if len(order) > 1 and rng.random() < 0.2:
            i, j = rng.choice(len(order), 2, replace=False)
            order[[i, j]] = order[[j, i]]
        boxes = random_boxes(rng, kind, len(paths))
        if kind == 'moving':
            noise = rng.normal(0, 4, paths.shape)
            boxes = (paths + [3 * frame, 0, 0, 0] + noise).round(2)
            boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
        for i in rng.permutation(len(paths)):
            if rng.random() < share:
                rows.append((frame, order[i], *boxes[i]))
    table = np.array(rows, dtype=float).reshape(-1, 6)
    return Tracks.create(table[:, 0], table[:, 1], table[:, 2:])


def random_sides(seed: int) -> tuple[np.random.Generator, int, Tracks, Tracks]:
    """Draw a scene: its generator, length, ground truth and result."""
    rng = np.random.default_rng(seed)
    frames, kind = int(rng.integers(1, 9)), KINDS[seed % len(KINDS)]
    paths = random_boxes(rng, 'float', int(rng.integers(0, 14)))
    gt = random_side(rng, kind, frames, paths, rng.choice([0.5, 0.9]))
    extra = random_boxes(rng, 'float', int(rng.integers(0, 5)))
    paths = np.concatenate([paths, extra])[: rng.integers(0, len(paths) + 5)]
    return rng, frames, gt, random_side(rng, kind, frames, paths, 0.8)


def official_evaluation(dataset, tracker: str = 'tracker') -> dict:
    """Score officially: by class, the sequences and then ``COMBINED``; all classes.

    Returns:
        Scores by class and sequence, a dictionary for each metric class; under
        ``mean of classes`` and ``all detections`` those over the classes.
    """
    _, sequences, classes = dataset.get_eval_info()
    found: dict[str, dict] = {name: {} for name in classes}
    for sequence in sequences:
        raw = dataset.get_raw_seq_data(tracker, sequence)
        for name in classes:
            data = dataset.get_preprocessed_seq_data(raw, name)
            found[name][sequence] = [m.eval_sequence(data) for m in METRICS]
    over: dict[str, list] = {'mean of classes': [], 'all detections': []}
    combined: dict[str, list] = {name: [] for name in classes}
    for index, metric in enumerate(METRICS):
        by_class = {}
        for name in classes:
            parts = {s: scores[index] for s, scores in found[name].items()}
            by_class[name] = metric.combine_sequences(parts)
        over['mean of classes'].append(metric.combine_classes_class_averaged(by_class))
        over['all detections'].append(metric.combine_classes_det_averaged(by_class))
        for name in classes:
            combined[name].append(by_class[name])
    for name in classes:
        found[name]['COMBINED'] = combined[name]
    return found | over


def load_sides(gt: Path, results: Path) -> tuple[Tracker, list[Sequence], list[str]]:
    """Read files without asking whether results may be of another sequence.

    Results of a random scene happen to fit another scene better.
    """
    (tracker,), remarks = find_trackers(Inputs(gt, [results]))
    paired = pair_sides(tracker.truth, tracker.results)
    sequences = [job.load() for job in paired.jobs]
    return tracker, sequences, [*remarks, *tracker.results.remarks]


def assert_equal_official(gt: Path, results: Path, dataset) -> None:
    """Score files with ours and with the official classes; every score is equal."""
    official = official_evaluation(dataset)
    tracker, sequences, _ = load_sides(gt, results)
    settings = Settings(
        tracker.truth.benchmark or 'mot_challenge', classes=tracker.truth.classes
    )
    ours = evaluate(sequences, settings)
    over = {
        'mean of classes': ours.over_classes(),
        'all detections': ours.over_detections(),
    }
    assert set(ours.classes) == official.keys() - over.keys()
    for name, scores in over.items():
        check(scores, official[name], name)
    for name in ours.classes:
        check(ours.of_class(name), official[name].pop('COMBINED'), name)
        assert set(ours.sequences) == official[name].keys()
        for sequence, scores in official[name].items():
            check(ours.of_sequence(sequence, name), scores, f'{name} {sequence}')


def check(ours: dict, official: list[dict], what: str) -> None:
    difference, score = largest_difference(ours, official)
    assert difference < 1e-9, f'{score} of {what} differs by {difference}'
