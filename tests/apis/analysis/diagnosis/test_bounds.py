# Copyright (c) mmfdta authors.
"""Bounds: no naming of the boxes scores higher, and true boxes keep what they must."""

import itertools

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

import mmfdta.registry  # noqa: F401
from mmfdta.apis.analysis.diagnosis.bounds import (
    match_truth,
    name_by_truth,
    take_true_boxes,
)
from mmfdta.apis.detection_store import SequenceDetections
from mmfdta.evaluation import Sequence, Settings, Tracks, evaluate, summarise

LENGTH = 3


def hota(truth: Tracks, tracks: Tracks) -> float:
    scores = evaluate([Sequence('one', LENGTH, truth, tracks)], Settings())
    return summarise(scores.of_class())['HOTA']


def namings(frames):
    """All ways to name boxes, each identity once in a frame, up to the names."""
    rows = list(range(len(frames)))

    def extend(names):
        row = len(names)
        if row == len(rows):
            yield names
            return
        used = {n for n, f in zip(names, frames, strict=False) if f == frames[row]}
        for name in range(max(names, default=-1) + 2):
            if name not in used:
                yield from extend([*names, name])

    return extend([])


def random_scene(seed: int) -> tuple[Tracks, Tracks]:
    """Two objects on tiles, and at most five boxes: shifted, missing or false ones."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for frame in range(1, LENGTH + 1):
        for identity in range(2):
            box = [100.0 * identity, 10.0 * frame, 40.0, 40.0]
            if rng.random() < 0.9:
                truth.append((frame, identity + 5, *box))
            if rng.random() < 0.7 and len(found) < 5:
                shift = rng.integers(0, 8)
                found.append((frame, 0, box[0] + shift, *box[1:]))
        if rng.random() < 0.3 and len(found) < 5:
            found.append((frame, 0, 300.0, 0.0, 20.0, 20.0))
    tables = [np.array(rows, dtype=float).reshape(-1, 6) for rows in (truth, found)]
    tables[1][:, 1] = np.arange(len(found))
    truth, found = (Tracks.create(t[:, 0], t[:, 1], t[:, 2:]) for t in tables)
    return truth, found


@pytest.mark.parametrize('seed', range(6))
def test_no_naming_of_the_boxes_scores_higher(seed):
    truth, found = random_scene(seed)
    best = max(
        hota(truth, Tracks.create(found.frame, names, found.xywh))
        for names in namings(found.frame.tolist())
    )
    bound = hota(truth, name_by_truth(found, truth, LENGTH))
    assert bound == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize('seed', range(3))
def test_no_choice_of_the_boxes_scores_higher(seed):
    truth, found = random_scene(seed)
    best = 0.0
    for size in range(len(found) + 1):
        for rows in itertools.combinations(range(len(found)), size):
            kept = found.select(np.array(rows, dtype=int))
            for names in namings(kept.frame.tolist()):
                named = Tracks.create(kept.frame, names, kept.xywh)
                best = max(best, hota(truth, named))
    bound = hota(truth, name_by_truth(found, truth, LENGTH, keep_others=False))
    assert bound == pytest.approx(best, abs=1e-9)


def test_matching_is_the_best_one_to_one_and_respects_classes():
    rng = np.random.default_rng(0)
    sides = []
    for count in (4, 5):
        xywh = np.concatenate([rng.random((count, 2)) * 6, np.full((count, 2), 14)], 1)
        frame, label = np.ones(count), rng.integers(0, 2, count)
        sides.append(Tracks.create(frame, np.arange(count), xywh, label=label))
    truth, found = sides
    (left, top), (right, bottom) = (
        op(found.xyxy[:, None, i : i + 2], truth.xyxy[:, i : i + 2]).transpose(2, 0, 1)
        for i, op in ((0, np.maximum), (2, np.minimum))
    )
    shared = np.clip(right - left, 0, None) * np.clip(bottom - top, 0, None)
    iou = shared / (2 * 14 * 14 - shared)
    for by_class in (False, True):
        usable = iou >= 0.5
        if by_class:
            usable &= found.label[:, None] == truth.label
        worth = np.where(usable, iou, 0)
        best = max(
            sum(worth[row, column] for column, row in enumerate(rows))
            for rows in itertools.permutations(range(5), 4)
        )
        at = match_truth(found, truth, 1, by_class)
        rows = np.flatnonzero(at >= 0)
        assert len(np.unique(at[rows])) == len(rows)
        assert usable[rows, at[rows]].all()
        assert worth[rows, at[rows]].sum() == pytest.approx(best)
        assert by_class or len(rows) > 1


def detections(embedded: bool = True) -> SequenceDetections:
    """Two near one object, of which the worse score overlaps best; none; one alone."""
    boxes = [[[0, 0, 10, 13], [0, 0, 10, 10.5]], [], [[50, 50, 60, 60]]]
    frames = []
    for number, rows in enumerate(boxes):
        found = InstanceData(
            bboxes=torch.tensor(rows, dtype=torch.float32).reshape(-1, 4),
            scores=torch.linspace(0.9, 0.1, len(rows)),
            labels=torch.zeros(len(rows), dtype=torch.long),
            areas=torch.full((len(rows),), 7.0),
        )
        if embedded:
            place = torch.arange(len(rows)) + 10.0 * number
            found.embeddings = place[:, None].expand(-1, 4).clone()
        frames.append(found)
    return SequenceDetections(frames, [{}] * 3, np.zeros((3, 3)), 0.05, 1)


OBJECTS = Tracks.create(
    [3, 1, 2],
    [4, 4, 4],
    [[50, 50, 10, 10], [0, 0, 10, 10], [20, 20, 10, 10]],
    label=[1, 1, 1],
)


def test_true_boxes_have_the_embedding_of_the_best_overlap():
    replaced, left_out = take_true_boxes(detections(), OBJECTS)
    assert left_out == 1  # nothing was found in the second frame
    assert [len(found) for found in replaced.frames] == [1, 0, 1]
    first, second, third = replaced.frames
    assert first.bboxes.tolist() == [[0, 0, 10, 10]]
    assert first.embeddings.tolist() == [[1.0] * 4]
    assert first.scores.tolist() == [1.0] and first.labels.tolist() == [1]
    assert second.embeddings.shape == (0, 4)
    assert third.embeddings.tolist() == [[20.0] * 4]
    assert 'areas' not in first  # they are of other boxes


@pytest.mark.parametrize('embedded', [False, True])
def test_true_boxes_are_all_there_for_trackers_of_boxes(embedded):
    replaced, left_out = take_true_boxes(
        detections(embedded), OBJECTS, boxes_only=embedded
    )
    assert left_out == 0
    assert [found.bboxes.tolist() for found in replaced.frames] == [
        [[0, 0, 10, 10]],
        [[20, 20, 30, 30]],
        [[50, 50, 60, 60]],
    ]
