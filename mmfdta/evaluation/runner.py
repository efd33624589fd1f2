# Copyright (c) mmfdta authors.
"""Evaluates sequences, each on its own, in parallel processes."""

import functools
import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from mmfdta.structures.benchmarks import get_benchmark
from mmfdta.structures.tracks import Sequence

from .benchmarks import select_scored
from .scores import FAMILIES, Counts, Evaluation, count_sequence


class SequenceJob(Protocol):
    """Something that becomes a sequence in the process that scores it."""

    @property
    def name(self) -> str:
        """Name of the sequence."""
        ...

    def load(self) -> Sequence:
        """Return the sequence."""
        ...


@dataclass(frozen=True)
class Settings:
    """How sequences are scored.

    Attributes:
        benchmark (str): Name of the benchmark, see :data:`BENCHMARKS`.
        families (tuple[str, ...]): Of ``HOTA``, ``CLEAR``, ``Identity``.
        classes (dict[str, int] | None): Names and numbers of the classes that
            are scored one by one; None scores all boxes as one class.
    """

    benchmark: str = 'mot_challenge'
    families: tuple[str, ...] = FAMILIES
    classes: dict[str, int] | None = None

    def __post_init__(self) -> None:
        benchmark = get_benchmark(self.benchmark)
        unknown = [name for name in self.families if name not in FAMILIES]
        if unknown or not self.families:
            raise ValueError(
                f'metric: found {list(self.families)}, expected some of '
                f'{", ".join(FAMILIES)}'
            )
        if self.classes is not None and benchmark.scored_class is not None:
            raise ValueError(
                f'class_aware: benchmark {benchmark.name} scores pedestrians only; '
                'choose mot_challenge for scores by class'
            )


def evaluate(
    jobs: Iterable[SequenceJob], settings: Settings, processes: int = 1
) -> Evaluation:
    """Score sequences.

    Args:
        jobs (Iterable[SequenceJob]): What to score: :class:`Sequence`, or
            files that are read where they are scored.
        settings (Settings): How.
        processes (int): Number of parallel processes; 1 stays in this one.

    Returns:
        Evaluation: The scores, sequences in the order of ``jobs``.

    Raises:
        ValueError: If there is no sequence, or one that cannot be scored.
    """
    jobs = list(jobs)
    if not jobs:
        raise ValueError('found no sequences to evaluate')
    score = functools.partial(_score, settings=settings)
    processes = min(processes, len(jobs))
    if processes <= 1:
        results = [score(job) for job in jobs]
    else:
        # Forked processes share what is imported; others would import it anew.
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context('fork' if 'fork' in methods else None)
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            results = list(pool.map(score, jobs))
    return Evaluation(
        {
            name: {
                job.name: result[name]
                for job, result in zip(jobs, results, strict=True)
            }
            for name in results[0]
        }
    )


def _score(job: SequenceJob, settings: Settings) -> dict[str, Counts]:
    """Score one sequence; counts by class name."""
    sequence = job.load()
    for side, boxes in (('ground truth', sequence.gt), ('result', sequence.pred)):
        boxes.check(f'{sequence.name}: {side}', sequence.num_frames)
    sequence = select_scored(sequence, settings.benchmark)
    if settings.classes is None:
        return {'all': count_sequence(sequence, settings.families)}
    return {
        name: count_sequence(sequence.of_label(number), settings.families)
        for name, number in settings.classes.items()
    }
