# Copyright (c) mmfdta authors.
"""What the classes of column 8 become: labels, rows to train on, identities."""

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field, fields, replace

import numpy as np

from mmfdta.structures.classes import LABELS_FILE, name_numbers
from mmfdta.structures.tables import plain_table
from mmfdta.structures.tracks import Tracks

from .sequences import RowRule, Sequence


@dataclass(frozen=True)
class ClassRows:
    """Rows of a ground truth by their number in column 8, -1 for none.

    Attributes:
        boxes: All rows.
        identities: Different identities, counted in each sequence.
        unscored: Rows whose column 7 is 0.
        trained: Rows that are trained on.
    """

    boxes: Counter[int] = field(default_factory=Counter)
    identities: Counter[int] = field(default_factory=Counter)
    unscored: Counter[int] = field(default_factory=Counter)
    trained: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of(cls, rows: Tracks, visibility: np.ndarray, rule: RowRule) -> 'ClassRows':
        """Count the rows of a sequence.

        Args:
            rows: N rows; labels are the numbers of column 8.
            visibility: float64 (N,), column 9, -1 where absent.
            rule: Which are trained on.
        """
        number = np.maximum(rows.label, -1)
        _, trained = rule.choose(number, rows.score, visibility)
        pairs = np.unique(np.stack([number, rows.identity]), axis=1)[0]
        chosen = (number, pairs, number[rows.score == 0], number[trained])
        return cls(*(Counter(numbers.tolist()) for numbers in chosen))

    @classmethod
    def total(cls, parts: Iterable['ClassRows']) -> 'ClassRows':
        """Add up sequences."""
        parts = list(parts)
        return cls(
            *(
                sum((getattr(part, column.name) for part in parts), Counter())
                for column in fields(cls)
            )
        )

    @property
    def classes(self) -> dict[int, int]:
        """Rows by class number, without those that have none."""
        return {n: count for n, count in sorted(self.boxes.items()) if n >= 0}

    def table(self, names: Mapping[int, str]) -> str:
        """Make a table to print, with a line for each number."""
        return plain_table(
            ('class', 'name', 'boxes', 'ids', 'column 7 is 0', 'trained on'),
            [
                (
                    number if number >= 0 else 'none',
                    names.get(number, '-'),
                    self.boxes[number],
                    self.identities[number],
                    self.unscored[number],
                    self.trained[number],
                )
                for number in sorted(self.boxes)
            ],
        )


def map_by_names(
    rule: RowRule, classes: SequenceOf[str], labels: Mapping[int, str]
) -> RowRule:
    """Give the classes of a data set the numbers that ``labels.txt`` has for them.

    Args:
        rule: Stays as it is if it has a map, or if the only class is not listed.
        classes: Names that the data set was given.
        labels: Names by number in column 8.

    Raises:
        ValueError: If one of several classes is not listed.
    """
    if rule.category_map is not None or not labels:
        return rule
    numbers = {name: number for number, name in labels.items()}
    lacking = [name for name in classes if name not in numbers]
    if lacking and len(classes) > 1:
        listed = ', '.join(f'{number} {name}' for number, name in labels.items())
        raise ValueError(
            f'metainfo.classes: found {lacking[0]!r}, but {LABELS_FILE} beside the '
            f'texts has {listed}; name the classes as it does, or set category_map'
        )
    if lacking:
        return rule
    chosen = {numbers[name]: label for label, name in enumerate(classes)}
    return replace(rule, category_map=chosen)


def describe_rule(
    rule: RowRule,
    classes: SequenceOf[str],
    labels: Mapping[int, str],
    rows: ClassRows,
    training: bool = True,
) -> list[str]:
    """Say what the classes of a data set without rules of its own become.

    Args:
        rule: Which rows are trained on.
        classes: Names of the labels.
        labels: Names by number in column 8, as far as they are known.
        rows: What there is.
        training: Say what training does with it, too.

    Returns:
        Remarks worth a warning.

    Raises:
        ValueError: If several classes are named and nothing says their numbers.
    """
    found, chosen = rows.classes, rule.category_map
    remarks = []
    if chosen is None and len(classes) > 1 and rows.boxes:
        if len(found) > 1:
            example = {number: label for label, number in enumerate([*found][:2])}
            raise ValueError(
                f'metainfo.classes names {len(classes)} classes, and column 8 has '
                f'{name_numbers(found, labels)}; say which number is which label: '
                f'category_map={example}'
            )
        remarks.append(
            f'metainfo.classes names {len(classes)} classes, but column 8 tells none '
            f'apart: all boxes are {classes[0]!r}; category_map says what a number is'
        )
    used = rows.boxes - rows.unscored if rule.use_consider_flag else rows.boxes
    others = Counter({n: c for n, c in used.items() if n not in (chosen or {n})})
    if others:
        known = name_numbers({n: c for n, c in others.items() if n >= 0}, labels)
        what = [f'classes {known}'] if known else []
        what += [f'{others[-1]} rows without a class'] if others[-1] else []
        remarks.append(
            f'category_map leaves out {others.total()} of {used.total()} rows: '
            f'{" and ".join(what)}'
        )
    if not training:
        return remarks
    if chosen is None and len(found) > 1:
        remarks.append(
            f'column 8 has the classes {name_numbers(found, labels)}: all are trained '
            f'on as one class ({classes[0]}); category_map={ {min(found): 0} } and '
            'metainfo=dict(classes=...) choose and name classes'
        )
    absent = [number for number in chosen or () if number not in found]
    if absent and rows.boxes:
        there = name_numbers(found, labels) or 'no classes'
        remarks.append(
            f'category_map has the class {absent[0]}, which no row has: column 8 has '
            f'{there}'
        )
    if rows.unscored and not rule.use_consider_flag:
        remarks.append(
            f'column 7 is 0 in {rows.unscored.total()} rows (classes '
            f'{name_numbers(rows.unscored, labels)}): training counts them as objects, '
            'scores leave them out; use_consider_flag=True leaves them out of training'
        )
    return remarks


def pair_identities(sequences: Iterable[Sequence]) -> list[str]:
    """Number all objects again if identities count within classes.

    They do where one frame has an identity in two classes. Then the pair of class
    (column 8) and identity is an object, in all sequences.

    Args:
        sequences: Changed in place.

    Returns:
        A remark if this was done, else none.
    """
    known = [(s.name, s.annotations) for s in sequences if s.annotations is not None]
    rows = [
        replace(annotations.tracks, label=annotations.category)
        for _, annotations in known
    ]
    where = next(
        (
            f'{name}: {again}'
            for (name, _), tracks in zip(known, rows, strict=True)
            if (again := describe_identity_of_two(tracks))
        ),
        None,
    )
    if where is None:
        return []
    for (_, annotations), tracks in zip(known, rows, strict=True):
        identity = tracks.with_paired_identities().identity
        annotations.tracks = replace(annotations.tracks, identity=identity)
    return [
        f'{where}: identities count within each class, so each pair of class and '
        'identity is an object of its own; category_map tells the classes apart, too'
    ]


def describe_identity_of_two(rows: Tracks) -> str | None:
    """Name the first identity that two classes have in one frame, if there is one.

    Args:
        rows: Labels are the numbers of column 8.
    """
    again = dict(rows.find_repeats())
    if not again:
        return None
    of_class = dict(rows.find_repeats(by_class=True))
    row = next((row for row in again if row not in of_class), None)
    if row is None:
        return None
    return (
        f'identity {rows.identity[row]} is in frame {rows.frame[row]} in the classes '
        f'{rows.label[again[row]]} and {rows.label[row]}'
    )
