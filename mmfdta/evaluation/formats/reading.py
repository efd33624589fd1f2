# Copyright (c) mmfdta authors.
"""What readers of several formats share: rows of words, whole numbers, JSON."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmfdta.structures.tracks import LARGEST_WHOLE, Tracks
from mmfdta.structures.whole_files import read_bytes

from ..folders import find_files

_JSON_TYPES = {
    dict: 'an object',
    list: 'a list',
    str: 'text',
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number',
    type(None): 'null',
}


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and words of each line that is not blank.

    Spaces, tabs and commas part the words.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no text.
    """
    try:
        text = read_bytes(path).decode('utf-8-sig')
    except UnicodeDecodeError:
        raise ValueError(f'{path}: found bytes that are not UTF-8 text') from None
    for number, line in enumerate(re.split(r'\r\n|\n|\r', text), 1):
        words = line.replace(',', ' ').split()
        if words:
            yield number, words


def to_number(value: Any, where: str, what: str) -> float:
    """Turn a word of text or a value of JSON into a finite number.

    Raises:
        ValueError: If it is none.
    """
    try:
        if isinstance(value, str) and (not value.isascii() or '_' in value):
            raise ValueError
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f'{where}: found {value!r} for {what}, expected a number')
    return number


def to_whole(value: Any, where: str, what: str) -> int:
    """Turn a word of text or a value of JSON into a whole number.

    Raises:
        ValueError: If it is none.
    """
    number = to_number(value, where, what)
    if number != int(number) or abs(number) >= LARGEST_WHOLE:
        raise ValueError(
            f'{where}: found {value!r} for {what}, expected a whole number'
        )
    return int(number)


def refuse_repeats(
    tracks: Tracks, places: Sequence[str], names: dict[int, str]
) -> None:
    """Refuse two boxes of one identity and class in a frame.

    Args:
        tracks: N boxes.
        places: Where each is from, for the message.
        names: Names of classes.

    Raises:
        ValueError: At the first; the message names both places.
    """
    for row, first in tracks.find_repeats(by_class=True)[:1]:
        label = int(tracks.label[row])
        raise ValueError(
            f'{places[row]}: found identity {tracks.identity[row]} of class '
            f'{names.get(label, label)} again in the same frame (first at '
            f'{places[first]}), expected one box of it'
        )


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no JSON; the message names the line.
    """
    try:
        return json.loads(read_bytes(path).decode('utf-8-sig'))
    except UnicodeDecodeError:
        raise ValueError(
            f'{path}: found bytes that are not UTF-8, expected JSON'
        ) from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f'{path}:{error.lineno}: found {error.msg}, expected JSON; is the file '
            'complete?'
        ) from None
    except RecursionError:
        raise ValueError(
            f'{path}: found JSON nested too deep to be annotations'
        ) from None


def get(record: Any, key: str, where: str, kind: type | tuple[type, ...]) -> Any:
    """Take a value out of a JSON object.

    Args:
        record: The object.
        key: Its key.
        where: File and place of the object, for messages.
        kind: Types that the value may have.

    Raises:
        ValueError: If the object is none, or the key or its type is not as expected.
    """
    if not isinstance(record, dict):
        raise ValueError(
            f'{where}: found {name_type(record)}, expected an object with {key!r}'
        )
    if key not in record:
        keys = ', '.join(map(repr, list(record)[:8])) or 'none'
        raise ValueError(f'{where}: found no {key!r}, but the keys {keys}')
    value = record[key]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = ' or '.join(_JSON_TYPES[k] for k in kinds)
        raise ValueError(
            f'{where}.{key}: found {name_type(value)}, expected {expected}'
        )
    return value


def name_type(value: Any) -> str:
    """Name the JSON type of a value, for messages."""
    return _JSON_TYPES.get(type(value), type(value).__name__)


def find_json(path: Path) -> dict[str, Path]:
    """Find JSON files of a ground truth in a folder or zip, or one file, by name.

    Next to the folders of MOTChallenge sequences there are none.
    """
    if path.is_dir() and any(path.glob('*/gt/*.txt')):
        return {}
    return find_files(path, ['*.json'], bool, depth=0)


def first_character(path: Path) -> str:
    """Return the first character of a text that is no space; '' if there is none."""
    return read_bytes(path).decode('utf-8-sig', errors='replace').lstrip()[:1]


def to_box(value: Any, where: str) -> tuple[float, float, float, float]:
    """Turn a list of JSON into left, top, width and height.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(value, list) or len(value) != 4:
        found = f'{len(value)} values' if isinstance(value, list) else name_type(value)
        raise ValueError(
            f'{where}: found {found}, expected a list of left, top, width, height'
        )
    left, top, width, height = (to_number(v, where, 'a side') for v in value)
    return left, top, width, height
