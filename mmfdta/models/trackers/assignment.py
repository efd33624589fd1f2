# Copyright (c) mmfdta authors.
"""Protocols that give the detections of a frame their ID words.

Each takes the ID scores (M, K + 1) of M detections (the last column means newborn),
which of the K words belong to a live trajectory (K,) bool, and the lowest score that
gives a word. Each returns the word of every detection (M,) int64, K for newborn; no
word is given twice (paper, Sec. 3.1).
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import linear_sum_assignment

Protocol = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def object_max(scores: np.ndarray, live: np.ndarray, id_thr: float) -> np.ndarray:
    """Every detection asks for its best word; of several, the surest one gets it.

    A detection whose best word is refused is newborn, whatever its second best is.
    Of equally sure detections the first gets the word.

    Args:
        scores: ID scores (M, K + 1).
        live: Words of live trajectories (K,) bool.
        id_thr: Lowest score that gives a word.

    Returns:
        Words (M,) int64, K for newborn.
    """
    num_dets, newborn = len(scores), len(live)
    best = scores.argmax(1)
    # In double precision, as the threshold is.
    sureness = scores[np.arange(num_dets), best].astype(np.float64)
    order = np.lexsort((-sureness, best))  # stable
    first = np.ones(num_dets, dtype=bool)
    first[1:] = best[order][1:] != best[order][:-1]
    wins = np.zeros(num_dets, dtype=bool)
    wins[order[first]] = True
    wins &= np.append(live, False)[best] & (sureness >= id_thr)
    return np.where(wins, best, newborn)


def hungarian(scores: np.ndarray, live: np.ndarray, id_thr: float) -> np.ndarray:
    """Words are given out so that the sum of the scores is the largest.

    Newborn is repeated, so that all detections may be. A word without a live
    trajectory or with too low a score makes newborn, even if the detection's second
    best were valid.

    Args:
        scores: ID scores (M, K + 1).
        live: Words of live trajectories (K,) bool.
        id_thr: Lowest score that gives a word.

    Returns:
        Words (M,) int64, K for newborn.
    """
    num_dets, newborn = len(scores), len(live)
    repeated = np.repeat(scores[:, -1:], max(num_dets - 1, 0), axis=1)
    cost = 1 - np.concatenate([scores, repeated], axis=1)
    rows, columns = linear_sum_assignment(cost)
    words = np.minimum(columns, newborn)
    valid = np.append(live, False)[words] & (scores[rows, words] >= id_thr)
    return np.where(valid, words, newborn)


def id_max(scores: np.ndarray, live: np.ndarray, id_thr: float) -> np.ndarray:
    """Every word (and newborn) picks its best detection, which takes its best picker.

    A detection is newborn if its best picker is newborn, has no live trajectory or
    too low a score. Of equally sure pickers the last valid one counts; of equally
    sure detections a word picks the first.

    Args:
        scores: ID scores (M, K + 1).
        live: Words of live trajectories (K,) bool.
        id_thr: Lowest score that gives a word.

    Returns:
        Words (M,) int64, K for newborn.
    """
    num_dets, newborn = len(scores), len(live)
    words = np.full(num_dets, newborn)
    if num_dets == 0:
        return words
    picked = scores.argmax(0)
    sureness = scores.max(0).astype(np.float64)
    best = np.full(num_dets, -np.inf)
    np.maximum.at(best, picked, sureness)
    valid = np.append(live, False) & (sureness >= id_thr) & (sureness >= best[picked])
    # Where a detection stands twice, NumPy keeps the last assignment.
    words[picked[valid]] = np.flatnonzero(valid)
    return words


PROTOCOLS: dict[str, Protocol] = {
    'object-max': object_max,
    'hungarian': hungarian,
    'id-max': id_max,
}
