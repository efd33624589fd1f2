# Copyright (c) mmfdta authors.
"""Whose rules hold for sequences that nobody named a benchmark for."""

import re
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np

from mmfdta.structures.benchmarks import (
    AUTO,
    BENCHMARKS,
    PLAIN,
    Benchmark,
    get_benchmark,
)
from mmfdta.structures.tracks import Sequence

from .formats import Side

_MOT_CLASSES = BENCHMARKS['mot17'].known_classes
_DISTRACTORS = BENCHMARKS['mot17'].distractors
_ONLY_IN_MOT20 = set(BENCHMARKS['mot20'].distractors) - set(_DISTRACTORS)


@dataclass(frozen=True)
class Recognised:
    """The rules that are taken, and why.

    Attributes:
        benchmark: Name of the benchmark.
        reason: Why, for the user.
        in_doubt: Other rules may be meant; the reason names the option.
    """

    benchmark: str
    reason: str
    in_doubt: bool = False

    def __str__(self) -> str:
        title = BENCHMARKS[self.benchmark].title
        rules = 'all boxes count alike' if self.benchmark == PLAIN else title
        return f'rules of {self.benchmark} ({rules}): {self.reason}'


def recognise_format(truth: Side) -> Recognised | None:
    """Find the rules of a ground truth whose format has some; None if it has none."""
    if truth.benchmark is None and truth.classes is None:
        return None
    return Recognised(truth.benchmark or PLAIN, f'the ground truth is {truth.title}')


def check_format(truth: Side, benchmark: str) -> None:
    """Refuse rules that need another format, or read column 8 of MOTChallenge text.

    Raises:
        ValueError: If the ground truth does not go with the benchmark.
    """
    rules = get_benchmark(benchmark)
    is_text = truth.benchmark is None and truth.classes is None
    if rules.from_files and truth.benchmark != benchmark:
        raise ValueError(
            f'--benchmark {benchmark}: found {truth.title} as ground truth, expected '
            f'the files of {rules.title}, which say what is not scored'
        )
    if rules.scored_class is not None and not is_text:
        raise ValueError(
            f'--benchmark {benchmark}: found {truth.title} as ground truth, expected '
            f'MOTChallenge text, whose classes it scores; choose {AUTO} or {PLAIN}'
        )


def recognise(
    sequences: SequenceOf[Sequence],
    where: str = '',
    by_class: bool = False,
    titles: Mapping[str, str] | None = None,
) -> Recognised:
    """Find the benchmark that MOTChallenge text belongs to.

    Names of sequences say it, if the classes in column 8 do not speak against it;
    without such names, classes and flags that only MOT16, MOT17 and MOT20 have. The
    plain rules are taken where the two conflict, or say too little.

    Args:
        sequences: Both sides, all rows of the ground truth.
        where: Path of the ground truth; it tells MOT20 from MOT17 if classes do not.
        by_class: Classes are to be scored one by one, which MOT17 does not.
        titles: Names that ``seqinfo.ini`` gives sequences; they count where those of
            the sequences tell nothing.
    """
    own = [sequence.name for sequence in sequences]
    named = name_benchmark(own)
    if named is None and titles:
        named = name_benchmark(titles.get(name, name) for name in own)
    evidence = _Classes.of(sequences)
    if named is None:
        return _by_classes(evidence, where, by_class)
    names = f'the sequences are named as those of {named.title}'
    if isinstance(named, Mixed):
        return Recognised(
            PLAIN,
            f'some sequences are named as those of {named.title}, others are not; '
            f'choose with --benchmark {named.options}',
            in_doubt=True,
        )
    if named.scored_class is None:
        return Recognised(named.name, names)
    if by_class:
        return Recognised(
            PLAIN,
            f'{names}, but --classes asks for classes one by one, and {named.title} '
            f'scores {named.classes[0]}s only',
            in_doubt=True,
        )
    strange = sorted(evidence.found - set(named.known_classes))
    if strange:
        held = 'no class' if strange == [-1] else f'class {strange[0]}'
        return Recognised(
            PLAIN,
            f'{names}, but column 8 holds {held}, expected the classes '
            f'{named.known_classes[0]} to {named.known_classes[-1]}; --benchmark '
            f'{named.name} has its rules',
            in_doubt=True,
        )
    return Recognised(named.name, f'{names}, and column 8 holds its classes')


@dataclass(frozen=True)
class Mixed:
    """Names of several benchmarks, or of one and of none."""

    title: str
    options: str


def name_benchmark(names: Iterable[str]) -> Benchmark | Mixed | None:
    """Find the benchmark that all sequences are named as; None if there is none."""
    candidates = [b for b in BENCHMARKS.values() if not b.from_files and b.sequences]
    owners = [
        next((b for b in candidates if b.has_sequence(name)), None) for name in names
    ]
    known = list(dict.fromkeys(b.name for b in owners if b is not None))
    if not known:
        return None
    if len(known) == 1 and None not in owners:
        return get_benchmark(known[0])
    if all(get_benchmark(name).scored_class is None for name in known):
        return None  # these are the plain rules in any case
    titles = ' and '.join(get_benchmark(name).title for name in known)
    return Mixed(titles, ' or '.join([*known, PLAIN]))


@dataclass(frozen=True)
class _Classes:
    """What columns 7 and 8 of a ground truth hold.

    Attributes:
        found: All classes, -1 for none.
        scored: Classes that have a row whose column 7 is not 0.
        unscored: Classes that have a row whose column 7 is 0.
    """

    found: set[int]
    scored: set[int]
    unscored: set[int]

    @classmethod
    def of(cls, sequences: Iterable[Sequence]) -> '_Classes':
        scored: set[int] = set()
        unscored: set[int] = set()
        for sequence in sequences:
            gt = sequence.gt
            scored |= set(np.unique(gt.label[gt.score != 0]).tolist())
            unscored |= set(np.unique(gt.label[gt.score == 0]).tolist())
        return cls(scored | unscored, scored, unscored)

    @property
    def are_of_mot17(self) -> bool:
        """Pedestrians are scored, other classes are not, distractors are there."""
        return (
            self.found <= set(_MOT_CLASSES)
            and self.scored == {1}
            and len(self.unscored - {1}) >= 2
            and bool(self.unscored & set(_DISTRACTORS))
        )


def _by_classes(evidence: _Classes, where: str, by_class: bool) -> Recognised:
    """Decide for sequences that no benchmark has names for."""
    if evidence.are_of_mot17 and not by_class:
        held = (
            'column 8 holds classes of MOT16, MOT17 and MOT20, and column 7 is 0 for '
            'all but pedestrians'
        )
        folder = re.findall(r'MOT(?:16|17|20)(?!\d)', where, flags=re.IGNORECASE)
        if folder:
            name = folder[-1].lower()
            return Recognised(name, f'{held}; the path names {folder[-1]}')
        if not evidence.found & _ONLY_IN_MOT20:
            return Recognised('mot17', f'{held} (those of MOT20 are the same here)')
        return Recognised(
            PLAIN,
            f'{held}, but class 6 counts in MOT20 otherwise than in MOT17; choose with '
            '--benchmark mot17 or mot20',
            in_doubt=True,
        )
    several = sorted(evidence.found - {-1})
    if len(several) > 1 and not by_class:
        listed = ', '.join(map(str, several[:6])) + (', ...' if several[6:] else '')
        option = ''
        if set(several) <= set(_MOT_CLASSES) and 1 in several:
            option = ' (or --benchmark mot17, if they are those of MOT17)'
        return Recognised(
            PLAIN,
            f'column 8 holds the classes {listed}; score them one by one with '
            f'--classes NAME=NUMBER{option}',
            in_doubt=True,
        )
    return Recognised(PLAIN, 'the sequences are named as those of no other benchmark')
