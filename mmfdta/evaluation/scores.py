# Copyright (c) mmfdta authors.
"""From sequences to scores: which boxes count, what is counted, and the sums.

Sequences are scored each on its own, in parallel processes; counts add up over
sequences and classes.
"""

import functools
import multiprocessing
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as SequenceOf
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Protocol

import numpy as np

from mmfdta.structures.benchmarks import FAMILIES, get_benchmark
from mmfdta.structures.tracks import Sequence

from .classes import (
    ClassCensus,
    Reading,
    describe_missing,
    describe_one_class,
    fill_unclassed,
    read_classes,
    read_identities,
    refuse_others,
    refuse_unclassed,
)
from .clear import CLEARCounts, count_clear
from .events import Events, find_events
from .hota import HOTACounts, count_hota
from .identity import IdentityCounts, count_identity
from .matching import find_overlaps
from .rules import select_scored

# Scores that are counts; all others are rates.
COUNTS = frozenset(
    (
        *('HOTA_TP', 'HOTA_FN', 'HOTA_FP'),
        *('CLR_TP', 'CLR_FN', 'CLR_FP', 'IDSW', 'MT', 'PT', 'ML', 'Frag', 'CLR_Frames'),
        *('IDTP', 'IDFN', 'IDFP'),
    )
)


ALL = 'all'
"""Name of the one class where classes are not told apart."""


@dataclass(frozen=True)
class Counts:
    """What the scores of a sequence, or of several, are made of.

    Attributes:
        hota: None where the family is not asked for.
        clear: The same.
        identity: The same.
    """

    hota: HOTACounts | None = None
    clear: CLEARCounts | None = None
    identity: IdentityCounts | None = None

    def scores(self, of_sequence: bool = False) -> dict[str, float | np.ndarray]:
        """Compute all scores under the names of the official evaluation.

        Args:
            of_sequence: These are the counts of one sequence, see
                :meth:`CLEARCounts.scores`.

        Returns:
            Fractions of 1 and counts; the scores of the HOTA family as
            float64 (19,), one for each localisation threshold.
        """
        scores: dict[str, float | np.ndarray] = {}
        if self.hota is not None:
            scores |= self.hota.scores()
        if self.clear is not None:
            scores |= self.clear.scores(of_sequence)
        if self.identity is not None:
            scores |= self.identity.scores()
        return scores


# Of one sequence, by class name.
Scored = dict[str, tuple[Counts, Events | None]]


def count_sequence(sequence: Sequence, families: Iterable[str] = FAMILIES) -> Counts:
    """Count what the scores of a sequence need, of all rows (`select_scored`)."""
    overlaps = find_overlaps(sequence)
    return Counts(
        hota=count_hota(overlaps) if 'HOTA' in families else None,
        clear=count_clear(overlaps) if 'CLEAR' in families else None,
        identity=count_identity(overlaps) if 'Identity' in families else None,
    )


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
        benchmark: Name of the benchmark, one of ``BENCHMARKS``.
        families: Of ``HOTA``, ``CLEAR``, ``Identity``.
        classes: Names and numbers of the classes that are scored one by one; several
            numbers may be one class. None scores all boxes as one class, or the
            classes that the benchmark has.
        all_classes: Score classes that neither side has, too, as the benchmarks do
            that have several.
        unclassed: Name of the class that results without one are of.
        class_names: Names of class numbers that are known, for messages.
        events: List the events of CLEAR, too.
    """

    benchmark: str = 'mot_challenge'
    families: tuple[str, ...] = FAMILIES
    classes: Mapping[str, int | tuple[int, ...]] | None = None
    all_classes: bool = False
    unclassed: str | None = None
    class_names: Mapping[int, str] | None = None
    events: bool = False

    @property
    def numbers(self) -> dict[str, tuple[int, ...]]:
        """Numbers of the classes by name; empty where all boxes are one class."""
        classes = self.classes or get_benchmark(self.benchmark).class_numbers or {}
        return {
            name: (number,) if isinstance(number, int) else tuple(number)
            for name, number in classes.items()
        }

    @property
    def mixes_classes(self) -> bool:
        """Whether boxes of several class numbers are scored together."""
        if get_benchmark(self.benchmark).scored_class is not None:
            return False
        return not self.numbers or any(len(of) > 1 for of in self.numbers.values())

    def __post_init__(self) -> None:
        benchmark = get_benchmark(self.benchmark)
        if self.unclassed is not None and not self.numbers:
            raise ValueError(
                f'--unclassed {self.unclassed}: expected --classes, which name it'
            )
        unknown = [name for name in self.families if name not in FAMILIES]
        if unknown or not self.families:
            raise ValueError(
                f'metric: found {list(self.families)}, expected some of '
                f'{", ".join(FAMILIES)}'
            )
        if self.classes is not None and benchmark.scored_class is not None:
            raise ValueError(
                f'class_aware: benchmark {benchmark.name} scores one class only; '
                'choose mot_challenge for scores by class'
            )


@dataclass(frozen=True)
class Evaluation:
    """Counts of all sequences and classes, and the scores that they give.

    Attributes:
        counts: By class name, then by sequence.
            Without classes there is the one class ``all``.
        events: The same for the events, if they were asked for; of a class only the
            sequences in which either side has a box of it.
        remarks: What was found and decided about classes and identities, one line
            each, to be said.
        pairs_results: Whether the pair of class and identity was taken for the
            identity of results; None where classes are not scored together.
    """

    counts: dict[str, dict[str, Counts]]
    events: dict[str, dict[str, Events]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    pairs_results: bool | None = None

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return list(self.counts)

    @property
    def sequences(self) -> list[str]:
        """Names of the sequences."""
        return list(next(iter(self.counts.values())))

    def of_sequence(self, sequence: str, name: str | None = None) -> dict:
        """Return `Counts.scores` of one sequence, by default of all its classes."""
        counts = [of[sequence] for of in self._of_classes(name)]
        return _add(counts).scores(of_sequence=True)

    def of_class(self, name: str | None = None) -> dict:
        """Return `Counts.scores` of a class, by default of all, in all sequences."""
        by_class = [_add(list(of.values())) for of in self._of_classes(name)]
        return _add(by_class).scores()

    def _of_classes(self, name: str | None) -> list[dict[str, Counts]]:
        return list(self.counts.values()) if name is None else [self.counts[name]]

    def over_detections(self) -> dict:
        """Return the scores over all classes, every box weighing the same."""
        return self.of_class()

    def over_classes(self, sequence: str | None = None) -> dict:
        """Return the mean of the classes' scores and the sum of their counts.

        Args:
            sequence: Its name; None: over all sequences. A class that is not in it
                counts as well, with scores of 0.
        """
        if sequence is None:
            by_class = [self.of_class(name) for name in self.classes]
        else:
            by_class = [self.of_sequence(sequence, name) for name in self.classes]
        return {
            field: (sum if field in COUNTS else functools.partial(np.mean, axis=0))(
                [scores[field] for scores in by_class]
            )
            for field in by_class[0]
        }


def _add(parts: SequenceOf[Any]) -> Any:
    """Add counts of one kind field by field; None stays None."""
    first = parts[0]
    if first is None:
        return None
    if not is_dataclass(first):
        return functools.reduce(operator.add, parts)
    columns = ([getattr(part, field.name) for part in parts] for field in fields(first))
    kind: Any = type(first)
    return kind(*map(_add, columns))


def evaluate(
    jobs: Iterable[SequenceJob], settings: Settings, processes: int = 1
) -> Evaluation:
    """Score sequences.

    Args:
        jobs: :class:`Sequence`, or files that are read where they are scored.
        settings: How.
        processes: Number of parallel processes; 1 stays in this one.

    Raises:
        ValueError: If there is no sequence, two have the same name, or one cannot be
            scored.
        RuntimeError: If a process was ended from outside.
    """
    jobs = list(jobs)
    if not jobs:
        raise ValueError('found no sequences to evaluate')
    name, count = Counter(job.name for job in jobs).most_common(1)[0]
    if count > 1:
        raise ValueError(f'found {count} sequences named {name}, expected one')
    score = functools.partial(_score, settings=settings)
    found = _map(score, jobs, processes)
    census = ClassCensus.total(one for _, one in found)
    classes, reading, remarks = _read(census, settings)
    by_sequence = {job.name: of for job, (of, _) in zip(jobs, found, strict=True)}
    # Each was read as it alone asks for; all have to be read alike.
    again = [
        job
        for job, (_, one) in zip(jobs, found, strict=True)
        if _read_one(one, settings) != reading
    ]
    if again:
        score = functools.partial(_score, settings=settings, reading=reading)
        found = _map(score, again, processes)
        by_sequence |= {job.name: of for job, (of, _) in zip(again, found, strict=True)}
    counts = {
        name: {sequence: of[name][0] for sequence, of in by_sequence.items()}
        for name in classes
    }
    events = {
        name: {
            sequence: found
            for sequence, of in by_sequence.items()
            if (found := of[name][1]) is not None
        }
        for name in classes
    }
    return Evaluation(
        counts,
        events if settings.events else {},
        tuple(remarks),
        reading.pair_pred if settings.mixes_classes else None,
    )


def load_all(
    jobs: Iterable[SequenceJob], processes: int = 1, method: str = 'load'
) -> list:
    """Load sequences in parallel processes, so that they can be looked at together.

    Args:
        jobs: What is loaded.
        processes: Number of processes; 1 stays in this one.
        method: Name of the method that loads.

    Raises:
        OSError: If a file cannot be read.
        ValueError: At a fault of a file.
        RuntimeError: If a process was ended from outside.
    """
    return _map(operator.methodcaller(method), list(jobs), processes)


def _map(function: Callable[[Any], Any], jobs: list, processes: int) -> list:
    """Call a function for each job, in processes if more than one is asked for."""
    processes = min(processes, len(jobs))
    if processes <= 1:
        return [function(job) for job in jobs]
    # Forked processes share what is imported; others would import it again.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context('fork' if 'fork' in methods else None)
    try:
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            return list(pool.map(function, jobs))
    except BrokenProcessPool:
        raise RuntimeError(
            f'one of {processes} scoring processes was killed, perhaps because '
            'there is too little memory; score with fewer processes'
        ) from None
    except (OSError, ValueError) as error:  # without the way through the pool
        raise error.with_traceback(None) from None


def _score(
    job: SequenceJob, settings: Settings, reading: Reading | None = None
) -> tuple[Scored, ClassCensus]:
    """Score one sequence.

    Args:
        job: The sequence.
        settings: How.
        reading: How it is read; None: as it alone asks for.

    Returns:
        Counts and, if asked for, events by class name; and its rows by class number.

    Raises:
        ValueError: If no score is defined for it.
    """
    loaded = job.load()
    by_class = get_benchmark(settings.benchmark).scored_class is None
    for side, boxes in (('ground truth', loaded.gt), ('result', loaded.pred)):
        boxes.check(f'{loaded.name}: {side}', loaded.num_frames, by_class)
    census = ClassCensus.of(loaded)
    scored: Scored = {}
    for name, sequence in select_classes(loaded, settings, reading).items():
        # Of hundreds of classes a sequence has a few.
        is_there = name == ALL or len(sequence.gt) or len(sequence.pred)
        scored[name] = (
            count_sequence(sequence, settings.families),
            find_events(sequence) if settings.events and is_there else None,
        )
    return scored, census


def select_classes(
    sequence: Sequence, settings: Settings, reading: Reading | None = None
) -> dict[str, Sequence]:
    """Keep the boxes that are scored, by class name."""
    reading = reading or _read_one(ClassCensus.of(sequence), settings)
    benchmark = get_benchmark(settings.benchmark)
    sequence = reading.apply(sequence)
    if not settings.numbers:
        return {ALL: select_scored(sequence, benchmark)}
    return {
        name: select_scored(sequence, benchmark, numbers)
        for name, numbers in settings.numbers.items()
    }


def select_together(
    sequences: SequenceOf[Sequence], settings: Settings
) -> list[dict[str, Sequence]]:
    """Keep the boxes that :func:`evaluate` scores of sequences of one set.

    Args:
        sequences: All sequences of the set: how classes and identities are read depends
            on all of them.
        settings: How.

    Returns:
        For each sequence what is scored of it, by class name.

    Raises:
        ValueError: If no score is defined for them.
    """
    census = ClassCensus.total(map(ClassCensus.of, sequences))
    classes, reading, _ = _read(census, settings)
    selected = [select_classes(one, settings, reading) for one in sequences]
    return [{name: of[name] for name in classes} for of in selected]


def _read(
    census: ClassCensus, settings: Settings
) -> tuple[list[str], Reading, list[str]]:
    """Decide which classes are scored, how the set is read, and what is said."""
    if get_benchmark(settings.benchmark).scored_class is not None:
        return [ALL], Reading(), []
    if not settings.numbers:
        reading, remarks = read_identities(census)
        remarks += describe_one_class(census, settings.class_names)
        return [ALL], reading, remarks
    if settings.all_classes or settings.classes is None:
        numbers, reading = settings.numbers, _read_one(census, settings)
        if settings.unclassed is not None:
            census = fill_unclassed(census, numbers, settings.unclassed)
            reading = replace(reading, fill=numbers[settings.unclassed][0])
        refuse_unclassed(census, numbers)
        refuse_others(census, numbers, settings.class_names)
        return list(numbers), reading, describe_missing(census, numbers)
    classes, reading, remarks = read_classes(
        census, settings.numbers, settings.unclassed
    )
    return list(classes), reading, remarks


def _read_one(census: ClassCensus, settings: Settings) -> Reading:
    """Decide how a sequence is read if it is the only one."""
    if not settings.mixes_classes:
        return Reading()
    return read_identities(census)[0]


def summarise(scores: dict[str, float | np.ndarray]) -> dict[str, float]:
    """Average `Counts.scores` over the localisation thresholds; one number each."""
    return {name: float(np.mean(value)) for name, value in scores.items()}
