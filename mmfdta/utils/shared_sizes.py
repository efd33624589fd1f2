# Copyright (c) mmfdta authors.
"""Numbers that several parts of a model share, and a config sets once."""

import inspect
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

Number = TypeVar('Number', int, float)


class Place(NamedTuple):
    """A part of a model that uses a shared number."""

    key: str
    """Key of the part in a config."""
    part: dict | None
    """The part's config, which receives the number; None if there is no such part."""
    argument: str
    """Name of the number as an argument of the part's class."""


def share_number(
    name: str, stated: Number | None, places: Sequence[Place], default: Number
) -> Number:
    """Pass a number to the parts that use it.

    Args:
        name: Key for the number in a config.
        stated: Number in the config under this key; None uses that of the parts, as in
            configs of version 0.1.
        places: The parts.
        default: The number if it is set nowhere.

    Returns:
        The number.

    Raises:
        ValueError: If two places have different numbers.
    """
    numbers = {} if stated is None else {name: stated}
    for key, part, argument in places:
        if part and part.get(argument) is not None:
            numbers[f'{key}.{argument}'] = part[argument]
    value = next(iter(numbers.values()), default)
    for other, found in numbers.items():
        if found != value:
            raise ValueError(
                f'{other} = {found}, but {next(iter(numbers))} = {value}; they must be '
                f'equal, and it is enough to set {name}'
            )
    for _, part, argument in places:
        if part is not None and _takes(part, argument):
            part[argument] = value
    return value


def share_identities(model: dict, id_decoder: dict, tracker: dict) -> dict[str, int]:
    """Set the numbers that ID decoder and tracker share.

    Args:
        model: The model's config, which may have the numbers.
        id_decoder: Config of its ID decoder, which receives them.
        tracker: Config of its tracker, which receives them, and ``miss_tolerance`` if
            it has none: a tracker looks back as far as the ID decoder can
            distinguish.

    Returns:
        ``num_id_vocabulary`` and ``window``.

    Raises:
        ValueError: If they have different numbers, or the tracker's
            ``miss_tolerance`` is larger than the window.
    """
    decoder = 'model.id_decoder', id_decoder
    words = share_number(
        'model.num_id_vocabulary',
        model.get('num_id_vocabulary'),
        [
            Place(*decoder, 'num_id_vocabulary'),
            Place('model.tracker', tracker, 'num_id_vocabulary'),
        ],
        default=50,
    )
    window = share_number(
        'model.window',
        model.get('window'),
        [Place(*decoder, 'max_relative_time')],
        default=30,
    )
    tolerance = tracker.setdefault('miss_tolerance', window)
    if tolerance > window:
        raise ValueError(
            f'model.tracker.miss_tolerance = {tolerance} looks back {tolerance - 1} '
            f'frames, but model.window = {window}: the ID decoder knows no distance in '
            f'time above {window - 1}; raise the second or lower the first'
        )
    return dict(num_id_vocabulary=words, window=window)


def _takes(part: dict, argument: str) -> bool:
    """Return whether the class of a config has an argument with this name."""
    from mmdet.registry import MODELS

    kind = part['type']
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    return kind is not None and argument in inspect.signature(kind).parameters
