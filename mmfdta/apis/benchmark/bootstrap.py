# Copyright (c) mmfdta authors.
"""How sure a difference between two trackers is: bootstrap over sequences."""

from dataclasses import dataclass, fields

import numpy as np

from mmfdta.evaluation import Evaluation
from mmfdta.evaluation.hota import HOTACounts

METRICS = ('HOTA', 'DetA', 'AssA')
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """A tracker's score minus that of a reference, fractions of 1.

    Attributes:
        of_sequences (np.ndarray): float64 (S,), in each sequence.
        overall (float): Over all sequences.
        low (float): Lower end of the interval of ``overall``.
        high (float): Upper end.
    """

    of_sequences: np.ndarray
    overall: float
    low: float
    high: float


def draw_sequences(count: int, resamples: int, seed: int) -> np.ndarray:
    """Draw sequences with replacement.

    Args:
        count (int): S, the number of sequences.
        resamples (int): B, how many times.
        seed (int): Seed of the draws.

    Returns:
        np.ndarray: int64 (B, S), how often each sequence was drawn.
    """
    shares = np.full(count, 1 / count)
    return np.random.default_rng(seed).multinomial(count, shares, size=resamples)


def compare(
    tracker: Evaluation, reference: Evaluation, draws: np.ndarray
) -> dict[str, Difference]:
    """Compare two trackers on the same sequences.

    Each draw is scored as a data set of its own, for both trackers: the counts
    of its sequences are added up before scores are computed. The interval is the
    middle 95 % of the differences (percentile bootstrap).

    Args:
        tracker (Evaluation): Its scores.
        reference (Evaluation): The scores of the other one.
        draws (np.ndarray): See :func:`draw_sequences`.

    Returns:
        dict[str, Difference]: By metric, see :data:`METRICS`.
    """
    single = np.eye(draws.shape[1])
    whole = np.ones((1, draws.shape[1]))
    parts = [
        _scores(tracker, weights) - _scores(reference, weights)
        for weights in (single, whole, draws)
    ]
    of_sequences, overall, drawn = parts
    outside = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [outside, 1 - outside], axis=1)
    return {
        metric: Difference(
            of_sequences[i], float(overall[i, 0]), float(low[i]), float(high[i])
        )
        for i, metric in enumerate(METRICS)
    }


def _scores(evaluation: Evaluation, weights: np.ndarray) -> np.ndarray:
    """Scores (M, B) of B data sets, sequences weighted by ``weights`` (B, S)."""
    sequences = [counts.hota for counts in evaluation.counts['all'].values()]
    summed = HOTACounts(
        *(
            weights @ np.stack([getattr(counts, field.name) for counts in sequences])
            for field in fields(HOTACounts)
        )
    )
    curves = summed.curves()
    return np.stack([curves[metric].mean(axis=-1) for metric in METRICS])
