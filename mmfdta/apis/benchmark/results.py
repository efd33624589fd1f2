# Copyright (c) mmfdta authors.
"""What an entry achieved, how long it took, and how sure differences are."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from mmfdta.evaluation import Evaluation, summarise
from mmfdta.evaluation.hota import HOTACounts

from ..sequence_loop import STAGES
from .entries import Entry
from .runs import SequenceRun

METRICS = ('HOTA', 'DetA', 'AssA')
LEVEL = 0.95


@dataclass(frozen=True)
class Timing:
    """Times of the frames of a run.

    Attributes:
        stages: ``median``, ``mean`` and ``p95`` in milliseconds by stage, and of all
            stages together under ``total``; None where a stage cannot be told from
            another.
        frames_per_second: One over the median of ``total``.
    """

    stages: dict[str, dict[str, float | None]]
    frames_per_second: float

    @classmethod
    def of(cls, seconds: np.ndarray) -> 'Timing':
        """Summarise times.

        Args:
            seconds: float64 (F, 4), NaN where there is none.
        """
        total = np.nansum(seconds, axis=1)
        columns = dict(zip(STAGES, seconds.T, strict=True)) | dict(total=total)
        stages = {name: _summarise(1000 * column) for name, column in columns.items()}
        return cls(stages, float(1 / np.median(total)))


def _summarise(milliseconds: np.ndarray) -> dict[str, float | None]:
    if np.isnan(milliseconds).any():
        return dict.fromkeys(('median', 'mean', 'p95'))
    return dict(
        median=float(np.median(milliseconds)),
        mean=float(milliseconds.mean()),
        p95=float(np.quantile(milliseconds, 0.95)),
    )


@dataclass(frozen=True)
class EntryResult:
    """Scores of an entry and the records of its run.

    Attributes:
        entry: What ran.
        evaluation: Its scores.
        runs: One for each sequence; none for results that were there.
    """

    entry: Entry
    evaluation: Evaluation
    runs: Sequence[SequenceRun] = ()

    @property
    def name(self) -> str:
        """Its name in tables."""
        return self.entry.name

    @cached_property
    def scores(self) -> dict[str, float]:
        """Over all sequences, the mean of classes; rates as fractions of 1."""
        return summarise(self.evaluation.over_classes())

    @cached_property
    def timing(self) -> Timing | None:
        """None for results that were there."""
        if not self.runs:
            return None
        return Timing.of(np.concatenate([run.seconds for run in self.runs]))

    @property
    def peak_memory(self) -> int | None:
        """Bytes; None where no process ran this entry alone."""
        known = [run.peak_memory for run in self.runs if run.peak_memory is not None]
        return max(known, default=None)

    @property
    def cost(self) -> dict[str, int] | None:
        """Parameters and operations of one frame; None for results that were there."""
        return self.runs[0].cost if self.runs else None

    @property
    def reused_detections(self) -> bool:
        """Whether it ran on detections that were there, of any entry."""
        return any(run.reused_detections for run in self.runs)


# ------------------------------------------------------- bootstrap over sequences
@dataclass(frozen=True)
class Difference:
    """An entry's score minus that of a reference, fractions of 1.

    Attributes:
        of_sequences: float64 (S,), in each sequence.
        overall: Over all sequences.
        low: Lower end of the interval of ``overall``.
        high: Upper end.
    """

    of_sequences: np.ndarray
    overall: float
    low: float
    high: float


def draw_sequences(count: int, resamples: int, seed: int) -> np.ndarray:
    """Draw sequences with replacement.

    Args:
        count: S, the number of sequences.
        resamples: B, how many times.
        seed: Seed of the draws.

    Returns:
        int64 (B, S), how often each sequence was drawn.
    """
    shares = np.full(count, 1 / count)
    return np.random.default_rng(seed).multinomial(count, shares, size=resamples)


def compare(
    entry: Evaluation, reference: Evaluation, draws: np.ndarray
) -> dict[str, Difference]:
    """Compare two entries on the same sequences.

    Each draw is scored as a data set of its own, for both: the counts of its
    sequences are added up before scores are computed. The interval is the middle
    95 % of the differences (percentile bootstrap).

    Args:
        entry: Its scores.
        reference: The scores of the other one.
        draws: See :func:`draw_sequences`.

    Returns:
        By metric, see :data:`METRICS`.
    """
    single = np.eye(draws.shape[1])
    whole = np.ones((1, draws.shape[1]))
    parts = [
        _scores(entry, weights) - _scores(reference, weights)
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
    """Scores (M, B) of B data sets, sequences weighted by ``weights`` (B, S).

    With several classes they are the mean of the classes'.
    """
    of_classes = []
    for by_sequence in evaluation.counts.values():
        sequences = [counts.hota for counts in by_sequence.values()]
        summed = HOTACounts(
            *(
                weights @ np.stack([getattr(of, field.name) for of in sequences])
                for field in fields(HOTACounts)
            )
        )
        curves = summed.curves()
        of_classes.append([curves[metric].mean(axis=-1) for metric in METRICS])
    return np.mean(of_classes, axis=0)
