# Copyright (c) mmfdta authors.
"""What a contestant achieved, and what it took."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mmfdta.evaluation import Evaluation, summarise

from .frame_runner import STAGES
from .runs import SequenceRun


@dataclass(frozen=True)
class Timing:
    """Times of the frames of a run.

    Attributes:
        stages (dict[str, dict[str, float | None]]): ``median``, ``mean`` and
            ``p95`` in milliseconds by stage, and of all stages together under
            ``total``; None where a stage cannot be told from another.
        frames_per_second (float): One over the median of ``total``.
    """

    stages: dict[str, dict[str, float | None]]
    frames_per_second: float

    @classmethod
    def of(cls, seconds: np.ndarray) -> 'Timing':
        """Summarise times.

        Args:
            seconds (np.ndarray): float64 (F, 4), NaN where there is none.

        Returns:
            Timing: The summary.
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
class Outcome:
    """A contestant's scores and the records of its run.

    Attributes:
        name (str): The contestant.
        evaluation (Evaluation): Its scores.
        runs (list[SequenceRun]): One a sequence; none for a folder of results.
    """

    name: str
    evaluation: Evaluation
    runs: list[SequenceRun]

    @cached_property
    def scores(self) -> dict[str, float]:
        """dict[str, float]: Over all sequences, rates as fractions of 1."""
        return summarise(self.evaluation.of_class('all'))

    @cached_property
    def timing(self) -> Timing | None:
        """Timing | None: None for a folder of results."""
        if not self.runs:
            return None
        return Timing.of(np.concatenate([run.seconds for run in self.runs]))

    @property
    def peak_memory(self) -> int | None:
        """Int | None: Bytes."""
        return max((run.peak_memory for run in self.runs), default=None)

    @property
    def shares_detections(self) -> bool:
        """bool: Whether it ran on the detections of another contestant's run."""
        return any(run.replayed for run in self.runs)
