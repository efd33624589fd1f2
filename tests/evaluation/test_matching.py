# Copyright (c) mmfdta authors.
"""Overlaps are found without whole matrices, and are those of whole matrices."""

import numpy as np
import pytest

from mmfdta.evaluation import Sequence, Tracks, count_sequence
from mmfdta.evaluation.matching import find_overlaps

from .oracle import largest_difference, official_data, official_sequence


def crowd(seed: int, frames: int, truth: int, found: int, life: int = 1000) -> Sequence:
    """Boxes of all sizes that lie on and beside each other, some without area."""
    rng = np.random.default_rng(seed)

    def side(number: int) -> Tracks:
        frame = np.repeat(np.arange(1, frames + 1), number)
        place = np.tile(np.arange(number), frames)
        xywh = rng.uniform(0, [200, 100, 20, 40], (len(frame), 4))
        # On a grid, edges touch and overlaps tie.
        xywh[::3] = xywh[::3].round()
        xywh[::17, 2] = 0
        xywh[::23, 3] *= -1
        return Tracks.create(frame, place + number * (frame // life), xywh)

    return Sequence('crowd', frames, side(truth), side(found))


@pytest.mark.parametrize(
    ('frames', 'truth', 'found'),
    [(1, 1, 1), (9, 1, 12), (9, 12, 1), (40, 9, 8), (3, 130, 270), (2, 500, 400)],
)
def test_overlaps_are_those_of_whole_matrices(frames, truth, found):
    sequence = crowd(0, frames, truth, found)
    overlaps = find_overlaps(sequence)
    matrices = official_data(sequence)['similarity_scores']
    rows, columns, ious, shares = [], [], [], []
    for frame, iou in enumerate(matrices):
        # The arithmetic of trackeval.metrics.HOTA.
        total = iou.sum(0)[np.newaxis, :] + iou.sum(1)[:, np.newaxis] - iou
        share = np.zeros_like(iou)
        known = total > np.finfo('float').eps
        share[known] = iou[known] / total[known]
        row, column = np.nonzero(iou)
        rows.append(row + frame * truth)
        columns.append(column + frame * found)
        ious.append(iou[row, column])
        shares.append(share[row, column])
    # To the last bit: two matches that tie there tie here.
    np.testing.assert_array_equal(overlaps.gt_row, np.concatenate(rows))
    np.testing.assert_array_equal(overlaps.pred_row, np.concatenate(columns))
    np.testing.assert_array_equal(overlaps.iou, np.concatenate(ious))
    np.testing.assert_array_equal(overlaps.share, np.concatenate(shares))
    if truth * found > 1:
        assert 0 < len(overlaps.iou) < frames * truth * found / 2


def test_matches_of_identities_that_come_and_go():
    # Most boxes find one that is alike in the frame before, of whoever is there.
    still = crowd(1, 1, 12, 12)
    frames = np.arange(1, 61)

    def repeat(side: Tracks, life: int) -> Tracks:
        rng = np.random.default_rng(life)
        frame = np.repeat(frames, len(side))
        xywh = np.tile(side.xywh + [0, 0, 20, 30], (len(frames), 1))
        xywh += rng.normal(0, 2, xywh.shape)
        identity = np.tile(side.identity, len(frames)) + 12 * (frame // life)
        kept = rng.random(len(frame)) < 0.9
        return Tracks.create(frame[kept], identity[kept], xywh[kept])

    sequence = Sequence('crowd', 60, repeat(still.gt, 7), repeat(still.gt, 5))
    ours = count_sequence(sequence).scores(of_sequence=True)
    assert ours['IDSW'] > 20
    difference, name = largest_difference(ours, official_sequence(sequence))
    assert difference < 1e-9, name
