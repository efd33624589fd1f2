# Copyright (c) mmfdta authors.
"""What both sides say of classes and identities, and what can be scored with it.

Sequences are counted where they are scored; what holds for all of them is decided
here, so that a set of files is read in one way.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mmfdta.structures.benchmarks import Benchmark
from mmfdta.structures.classes import column_numbers, name_numbers, suggest_classes
from mmfdta.structures.tracks import Sequence, Tracks

from .folders import name_some

NO_CLASS = -1


@dataclass(frozen=True)
class ClassCensus:
    """Rows by class number, of one sequence or of several.

    Attributes:
        gt: Ground truth that is scored.
        pred: Results.
        not_scored: Ground truth whose column 7 is 0.
        gt_repeats: A sequence and a frame of it in which the ground truth has one
            identity for two classes; None if there is none.
        pred_repeats: The same of the results.
        unclassed: Sequences whose results have rows and none of a class.
    """

    gt: Counter[int] = field(default_factory=Counter)
    pred: Counter[int] = field(default_factory=Counter)
    not_scored: Counter[int] = field(default_factory=Counter)
    gt_repeats: str | None = None
    pred_repeats: str | None = None
    unclassed: tuple[str, ...] = ()

    @classmethod
    def of(cls, sequence: Sequence) -> 'ClassCensus':
        """Count the rows of a sequence, before benchmarks leave some out."""
        gt, scored = sequence.gt, sequence.gt.score != 0
        return cls(
            gt=_count(gt.select(scored)),
            pred=_count(sequence.pred),
            not_scored=_count(gt.select(~scored)),
            gt_repeats=_describe_repeat(sequence.name, gt),
            pred_repeats=_describe_repeat(sequence.name, sequence.pred),
            unclassed=(
                (sequence.name,)
                if len(sequence.pred) and (sequence.pred.label < 0).all()
                else ()
            ),
        )

    @classmethod
    def total(cls, parts: Iterable['ClassCensus']) -> 'ClassCensus':
        """Add up the sequences of a set."""
        parts = list(parts)
        return cls(
            gt=sum((part.gt for part in parts), Counter()),
            pred=sum((part.pred for part in parts), Counter()),
            not_scored=sum((part.not_scored for part in parts), Counter()),
            gt_repeats=next((p.gt_repeats for p in parts if p.gt_repeats), None),
            pred_repeats=next((p.pred_repeats for p in parts if p.pred_repeats), None),
            unclassed=sum((part.unclassed for part in parts), ()),
        )


@dataclass(frozen=True)
class Reading:
    """How the classes and identities of a set are read.

    Attributes:
        pair_gt: An identity of the ground truth is a pair of class and identity.
        pair_pred: The same of the results.
        fill: Class that results without a class belong to; None: to none.
    """

    pair_gt: bool = False
    pair_pred: bool = False
    fill: int | None = None

    def apply(self, sequence: Sequence) -> Sequence:
        """Return the sequence as it is read."""
        gt, pred = sequence.gt, sequence.pred
        if self.pair_gt:
            gt = gt.with_paired_identities()
        if self.pair_pred:
            pred = pred.with_paired_identities()
        if self.fill is not None:
            label = np.where(pred.label < 0, self.fill, pred.label)
            pred = replace(pred, label=label)
        return replace(sequence, gt=gt, pred=pred)


@dataclass(frozen=True)
class RunClasses:
    """The classes of a run: a model's labels, and what text calls them.

    Attributes:
        names: Of the labels.
        numbers: Of the labels, in column 8.
        is_mapped: Ground truth with a label of -1 is of other classes.
        of_benchmark: The benchmark has classes and rules of its own.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    is_mapped: bool = False
    of_benchmark: bool = False

    @classmethod
    def of(cls, meta: Mapping[str, Any] | None, benchmark: Benchmark) -> 'RunClasses':
        """Take them from the meta information of a data set."""
        meta = meta or {}
        names = tuple(meta.get('classes') or ())
        return cls(
            names,
            column_numbers(meta) or tuple(range(1, max(len(names), 1) + 1)),
            bool(meta.get('class_numbers')),
            benchmark.scored_class is not None,
        )

    @property
    def written(self) -> tuple[int, ...] | None:
        """Numbers that results get in column 8; None where they say no class."""
        several = len(self.names) > 1 and not self.of_benchmark
        return self.numbers if several else None

    def chosen(self, class_aware: bool | None) -> dict[str, int] | None:
        """Say which classes are scored one by one.

        Args:
            class_aware: All or none of them; None: all, if there are several.

        Returns:
            Numbers by name; None scores all boxes as one class.
        """
        by_class = self.written is not None if class_aware is None else class_aware
        if not by_class:
            return None
        return dict(zip(self.names, self.numbers, strict=True))

    def number(self, sequence: Sequence, by_class: bool) -> Sequence:
        """Turn labels into numbers, as text has them; leave other classes out.

        Args:
            sequence: Both sides with labels, as the run has them.
            by_class: Classes are scored one by one.

        Raises:
            ValueError: If a result has a label that the data set has no class for.
        """
        if self.of_benchmark:
            return sequence
        gt, pred = sequence.gt, sequence.pred
        if self.is_mapped:
            gt = gt.select(gt.label >= 0)
        if not by_class and self.written is None:
            return replace(sequence, gt=_unclassed(gt), pred=_unclassed(pred))
        numbers = np.array([*self.numbers, NO_CLASS])
        strange = pred.label[(pred.label < NO_CLASS) | (pred.label >= len(self.names))]
        if len(strange):
            raise ValueError(
                f'{sequence.name}: found a result with label {strange[0]}, but the '
                f'data set has {len(self.names)} classes ({", ".join(self.names)}); '
                'num_classes of the model and metainfo.classes of the data set must '
                'agree'
            )
        return replace(
            sequence,
            gt=replace(gt, label=numbers[np.clip(gt.label, -1, len(self.numbers) - 1)]),
            pred=replace(pred, label=numbers[pred.label]),
        )


def _unclassed(tracks: Tracks) -> Tracks:
    return replace(tracks, label=np.full(len(tracks), NO_CLASS))


def read_identities(census: ClassCensus) -> tuple[Reading, list[str]]:
    """Decide what an identity is where all boxes are one class.

    It is a number of its own where no frame has it twice, and else the pair of class
    and number, in all sequences.

    Returns:
        The reading, and what has to be said.
    """
    sides = {'ground truth': census.gt_repeats, 'results': census.pred_repeats}
    remarks = [
        f'{side}: {where}: identities count within each class, so the pair of class '
        'and identity is taken for the identity'
        for side, where in sides.items()
        if where
    ]
    reading = Reading(bool(census.gt_repeats), bool(census.pred_repeats))
    return reading, remarks


def describe_one_class(
    census: ClassCensus, names: Mapping[int, str] | None = None
) -> list[str]:
    """Say what is taken together where all boxes are scored as one class."""
    gt, pred = _known(census.gt), _known(census.pred)
    remarks = []
    if len(gt) > 1 or len(pred) > 1 or (gt and pred and not gt.keys() & pred.keys()):
        more = 'classes are scored one by one where both sides have them in column 8'
        if gt and pred:
            more = f'{suggest_classes(sorted(gt), names)} scores classes one by one'
        elif gt and census.pred:
            option = suggest_classes(sorted(gt)[:1], names, unclassed=True)
            more = f'if results are of one class, name it: {option}'
        remarks.append(
            f'the ground truth has {_describe(census.gt, names)}, the results have '
            f'{_describe(census.pred, names)}: all are scored as one class; {more}'
        )
    return remarks + _describe_not_scored(census, names)


def _describe_not_scored(
    census: ClassCensus, names: Mapping[int, str] | None = None
) -> list[str]:
    if not census.not_scored:
        return []
    return [
        f'{census.not_scored.total()} ground truth rows have a 0 in column 7 and are '
        f'not scored: {_describe(census.not_scored, names)}'
    ]


def read_classes(
    census: ClassCensus,
    classes: Mapping[str, tuple[int, ...]],
    unclassed: str | None = None,
) -> tuple[dict[str, tuple[int, ...]], Reading, list[str]]:
    """Decide how the classes of a set are scored one by one.

    Args:
        census: What both sides have, in all sequences.
        classes: Numbers of the classes that are asked for, by name.
        unclassed: The one that results without a class are of; None: none, unless
            there is no other class on either side.

    Returns:
        The classes that occur; how both sides are read; and what has to be said.

    Raises:
        ValueError: If a side has no classes, or only others, or counts from another
            number than the other side.
    """
    gt, pred = _known(census.gt), _known(census.pred)
    asked = _asked(classes)
    numbers = {number for of_class in classes.values() for number in of_class}
    reading = Reading()
    remarks: list[str] = []
    if any(len(of_class) > 1 for of_class in classes.values()):
        reading, remarks = read_identities(census)
    if unclassed is not None:
        pred = fill_unclassed(census, classes, unclassed).pred
        reading = replace(reading, fill=classes[unclassed][0])
    elif census.pred and not pred and gt and len(classes) == 1 and {*gt} <= numbers:
        fill = min(numbers)
        reading = replace(reading, fill=fill)
        remarks.append(
            f'no result row has a class (column 8 is -1): all results count as {asked}'
        )
        pred = Counter({fill: census.pred.total()})
    else:
        refuse_unclassed(census, classes)
    if gt and pred:
        _check_numbers(gt, pred, numbers, asked)
    chosen = {}
    for name, of_class in classes.items():
        has_gt = any(number in gt for number in of_class)
        has_pred = any(number in pred for number in of_class)
        title = f'class {name}={",".join(map(str, of_class))}'
        if has_gt or has_pred or not (gt or pred):
            chosen[name] = of_class
        if has_gt and not has_pred:
            remarks.append(f'{title}: the results have none, so its scores are 0')
        elif has_pred and not has_gt:
            remarks.append(
                f'{title}: the ground truth has none, so that all its results are '
                'wrong and lower the mean over classes'
            )
        elif not has_gt and (gt or pred):
            remarks.append(f'{title}: neither side has any, so it is left out')
    filled = {NO_CLASS} if reading.fill is not None else set()
    others = [
        f'{side}: {_describe(rows, None)}'
        for side, counts, known in (
            ('ground truth', census.gt, numbers),
            ('results', census.pred, numbers | filled),
        )
        if (rows := Counter({n: c for n, c in counts.items() if n not in known}))
    ]
    if others:
        remarks.append(f'rows of other classes are not scored ({"; ".join(others)})')
    return chosen, reading, remarks + _describe_not_scored(census)


def fill_unclassed(
    census: ClassCensus, classes: Mapping[str, tuple[int, ...]], unclassed: str
) -> ClassCensus:
    """Count results without a class as those of one.

    Args:
        census: What both sides have.
        classes: Numbers of the classes that are scored, by name.
        unclassed: The one that results without a class are of, the first of its
            numbers.

    Raises:
        ValueError: If it is none of the classes.
    """
    if unclassed not in classes:
        raise ValueError(
            f'--unclassed: found {unclassed!r}, expected one of {", ".join(classes)}'
        )
    pred = _known(census.pred)
    if census.pred[NO_CLASS]:  # an entry of 0 would be a class that results have
        pred[classes[unclassed][0]] += census.pred[NO_CLASS]
    return replace(census, pred=pred, unclassed=())


def refuse_others(
    census: ClassCensus,
    classes: Mapping[str, tuple[int, ...]],
    names: Mapping[int, str] | None = None,
) -> None:
    """Refuse results that have classes, and none of those of the benchmark.

    Raises:
        ValueError: If they have, and the ground truth has classes of the benchmark.
    """
    numbers = {number for of_class in classes.values() for number in of_class}
    pred = _known(census.pred)
    if pred and not numbers & pred.keys() and numbers & census.gt.keys():
        raise ValueError(
            f'results: found {pred.total()} rows, which are of '
            f'{_describe(pred, names)}, none of which is scored; expected some of '
            f'{_asked(classes)}: is the number of the class that of the benchmark?'
        )


def describe_missing(
    census: ClassCensus, classes: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """Say which of many classes the results do not have, or neither side has.

    Also, how many results have no class.
    """
    missing = [
        name
        for name, of_class in classes.items()
        if census.gt.keys() & {*of_class} and not census.pred.keys() & {*of_class}
    ]
    neither = [
        name
        for name, of_class in classes.items()
        if not (census.gt.keys() | census.pred.keys()) & {*of_class}
    ]
    remarks = [
        f'{who} no {name_some(names)}: scores of 0, which lower the mean over classes'
        for who, names in (('the results have', missing), ('both sides have', neither))
        if names
    ]
    if census.pred[NO_CLASS]:
        remarks.append(
            f'{census.pred[NO_CLASS]} results have no class in column 8 and are not '
            'scored; --unclassed NAME says which class they are of'
        )
    return remarks


def refuse_unclassed(
    census: ClassCensus, classes: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse a side without any class where classes are scored one by one."""
    asked = _asked(classes)
    if census.gt and not _known(census.gt):
        raise ValueError(
            f'classes {asked}: no ground truth row has a class (column 8 is -1 or no '
            f'whole number in all {census.gt.total()} rows); leave --classes out to '
            'score all boxes as one class'
        )
    if census.pred and not _known(census.pred):
        raise ValueError(
            f'classes {asked}: no result row has a class (column 8 is -1 or no whole '
            f'number in all {census.pred.total()} rows); write the class into column '
            '8, name the one class of all results with --unclassed NAME, or leave '
            '--classes out to score all boxes as one class'
        )
    if census.unclassed and census.pred:
        raise ValueError(
            f'classes {asked}: no result row of {name_some(census.unclassed)} has a '
            'class in column 8, those of other sequences have; write it there, too, '
            'name it with --unclassed NAME, or leave --classes out to score all boxes '
            'as one class'
        )


def _asked(classes: Mapping[str, tuple[int, ...]]) -> str:
    return ', '.join(f'{n}={",".join(map(str, k))}' for n, k in classes.items())


def _check_numbers(
    gt: Counter[int], pred: Counter[int], numbers: set[int], asked: str
) -> None:
    """Refuse numbers that cannot mean the same on both sides."""
    both = (
        f'classes {asked}: the ground truth has {_describe(gt, None)}, the results '
        f'have {_describe(pred, None)}'
    )
    from_zero = 0 in pred and 0 not in gt and 0 not in numbers
    if from_zero:
        raise ValueError(
            f'{both}: the results seem to count classes from 0 and the ground truth '
            'from 1; add 1 to column 8 of the results, or remove rows of class 0 from '
            'them if that is a class of its own'
        )
    if 0 in gt and 0 not in pred and max(pred) > max(gt):
        raise ValueError(
            f'{both}: the results seem to count classes from 1 and the ground truth '
            'from 0; take 1 off column 8 of the results'
        )
    for side, counts in (('ground truth has', gt), ('results have', pred)):
        if not numbers & counts.keys():
            raise ValueError(f'{both}: the {side} none of the classes asked for')


def _count(tracks: Tracks) -> Counter[int]:
    label, count = np.unique(np.maximum(tracks.label, NO_CLASS), return_counts=True)
    return Counter(dict(zip(label.tolist(), count.tolist(), strict=True)))


def _known(counts: Counter[int]) -> Counter[int]:
    return Counter({n: count for n, count in counts.items() if n != NO_CLASS})


def _describe(counts: Counter[int], names: Mapping[int, str] | None) -> str:
    known = _known(counts)
    parts = []
    if known:
        word = 'class' if len(known) == 1 else 'classes'
        parts.append(f'{word} {name_numbers(known, names)}')
    if counts[NO_CLASS]:
        parts.append(f'{counts[NO_CLASS]} rows without a class')
    return ' and '.join(parts) or 'no rows'


def _describe_repeat(name: str, tracks: Tracks) -> str | None:
    """Find the first identity that two classes have in one frame."""
    for row, first in tracks.find_repeats()[:1]:
        labels = sorted({int(tracks.label[row]), int(tracks.label[first])})
        if len(labels) > 1:
            return (
                f'{name}: identity {tracks.identity[row]} of the classes {labels[0]} '
                f'and {labels[1]} in frame {tracks.frame[row]}'
            )
    return None
