# Copyright (c) mmfdta authors.
"""Names and numbers of classes: column 8 of MOTChallenge text.

A model's labels count from 0. The text uses the class numbers of its data set, which
the data set defines (``category_map``).
"""

import os
import shlex
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as SequenceOf
from pathlib import Path
from typing import Any

from .whole_files import read_bytes

LABELS_FILE = 'labels.txt'
"""File next to ``gt.txt`` in CVAT's exports: one name per line, class 1 first."""


def numbers_of_labels(
    category_map: Mapping[int, int], num_classes: int
) -> tuple[int, ...]:
    """Invert ``category_map``: the number in column 8 of each label.

    Args:
        category_map: Number in column 8 to label.
        num_classes: Smallest number of labels.

    Returns:
        One number per label. If several numbers have the same label, it is the first
        of them; a label without a number gets the next one that is not used.
    """
    numbers: dict[int, int] = {}
    for number, label in category_map.items():
        numbers.setdefault(int(label), int(number))
    free = max((*category_map, 0)) + 1
    result = []
    for label in range(max(num_classes, max(numbers, default=-1) + 1)):
        result.append(numbers.get(label, free))
        free += label not in numbers
    return tuple(result)


def column_numbers(meta: Mapping[str, Any] | None) -> tuple[int, ...] | None:
    """Return the number that each label of a model has in column 8 of its results.

    Args:
        meta: Meta information of a data set: ``classes``, and ``class_numbers`` if
            its ground truth has its own numbers.

    Returns:
        A number for each label; ``label + 1`` if the data set does not number them.
        None for a model of one class, whose results have no class.
    """
    classes = (meta or {}).get('classes') or ()
    if isinstance(classes, str) or len(classes) < 2:
        return None
    numbers = (meta or {}).get('class_numbers')
    return tuple(map(int, numbers or range(1, len(classes) + 1)))


def read_labels(path: str | os.PathLike) -> dict[int, str]:
    """Read ``labels.txt``.

    Returns:
        Names by class number: the number of a line, from 1.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not UTF-8 text, or has a name twice.
    """
    try:
        lines = read_bytes(path).decode('utf-8-sig').splitlines()
    except UnicodeDecodeError:
        raise ValueError(
            f'{path}: expected UTF-8 text, a class name per line'
        ) from None
    labels = {n: line.strip() for n, line in enumerate(lines, 1) if line.strip()}
    seen: dict[str, int] = {}
    for number, name in labels.items():
        if name in seen:
            raise ValueError(
                f'{path}:{number}: found the class {name!r} again (first on line '
                f'{seen[name]}), expected each name once'
            )
        seen[name] = number
    return labels


def labels_beside(texts: Iterable[str | os.PathLike]) -> dict[int, str]:
    """Read the ``labels.txt`` files next to the ground truth of a data set.

    Args:
        texts: The ground truth of each sequence.

    Returns:
        Names by class number; empty if there is no such file.

    Raises:
        ValueError: If two files give one number different names, so that column 8
            means something else in each sequence.
    """
    labels: dict[int, str] = {}
    origin: dict[int, Path] = {}
    folders = dict.fromkeys(Path(text).parent for text in texts)
    for path in (folder / LABELS_FILE for folder in folders):
        try:
            found = read_labels(path)
        except FileNotFoundError:
            continue
        for number, name in found.items():
            if labels.setdefault(number, name) != name:
                raise ValueError(
                    f'{path}:{number}: class {number} is {name!r}, but '
                    f'{labels[number]!r} in {origin[number]}; number the classes of '
                    'all sequences in the same way'
                )
            origin.setdefault(number, path)
    return labels


def choose_classes(
    words: Iterable[str],
    labels: Mapping[int, str] | None = None,
    origin: str = LABELS_FILE,
) -> dict[str, tuple[int, ...]]:
    """Read the classes that a command names.

    Args:
        words: ``NAME=NUMBER``, ``NAME=NUMBER,NUMBER`` for numbers that are one class,
            or ``NAME`` alone, whose number is looked up in ``labels``.
        labels: Names in the ``labels.txt`` of the ground truth, or of its format, by
            number.
        origin: What has these names, for messages.

    Returns:
        Numbers in column 8 by name.

    Raises:
        ValueError: If a word cannot be read or looked up, a name or a number occurs
            twice, or a name has another number in ``labels``.
    """
    known = {name: number for number, name in (labels or {}).items()}
    named = ', '.join(f'{name}={number}' for name, number in known.items())
    chosen: dict[str, tuple[int, ...]] = {}
    owner: dict[int, str] = {}
    for word in words:
        name, equals, text = word.rpartition('=')
        if not equals:
            name = word.strip()
            if name not in known:
                raise ValueError(
                    f'--classes: found {word!r}, expected NAME=NUMBER such as car=3: '
                    + (
                        f'{origin} has {named}'
                        if known
                        else f'no {LABELS_FILE} next to the ground truth has its number'
                    )
                )
            numbers: tuple[int, ...] = (known[name],)
        else:
            name, cells = name.strip(), text.split(',')
            if not name or not all(c.strip().isdecimal() for c in cells):
                raise ValueError(
                    f'--classes: found {word!r}, expected NAME=NUMBER such as car=3'
                )
            numbers = tuple(dict.fromkeys(int(cell) for cell in cells))
            if name in known and known[name] not in numbers:
                raise ValueError(f'--classes: found {word!r}, but {origin} has {named}')
        if name in chosen:
            raise ValueError(
                f'--classes: found {name!r} twice, expected each name once'
            )
        for number in numbers:
            if number in owner:
                raise ValueError(
                    f'--classes: found number {number} for {owner[number]!r} and for '
                    f'{name!r}, expected one name for each number'
                )
            owner[number] = name
        chosen[name] = numbers
    return chosen


def name_numbers(
    counts: Mapping[int, int], labels: Mapping[int, str] | None = None, most: int = 6
) -> str:
    """Format classes and their numbers of rows for messages.

    Args:
        counts: Rows by class number.
        labels: Names by class number, as far as they are known.
        most: Largest number of classes to list.
    """
    parts = [
        f'{number}{f" {labels[number]}" if labels and number in labels else ""} '
        f'({count} rows)'
        for number, count in sorted(counts.items())
    ]
    more = f' and {len(parts) - most} more' if len(parts) > most else ''
    return ', '.join(parts[:most]) + more


def suggest_classes(
    numbers: SequenceOf[int],
    labels: Mapping[int, str] | None = None,
    unclassed: bool = False,
) -> str:
    """Format an option ``--classes`` that names these numbers.

    Args:
        numbers: Class numbers.
        labels: Names by class number, as far as they are known.
        unclassed: Add ``--unclassed``: results without a class are of the first one.
    """
    names = [(labels or {}).get(number, f'NAME{number}') for number in numbers]
    words = [
        shlex.quote(f'{name}={number}')
        for name, number in zip(names, numbers, strict=True)
    ]
    option = ' '.join(['--classes', *words[:6], *(['...'] if len(words) > 6 else [])])
    return f'{option} --unclassed {shlex.quote(names[0])}' if unclassed else option
