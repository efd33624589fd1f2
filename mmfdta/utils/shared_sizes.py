# Copyright (c) mmfdta authors.
"""Numbers that several parts of a model share, and a config says once."""

import inspect
from collections.abc import Sequence
from typing import NamedTuple


class Place(NamedTuple):
    """Where a part of a model takes a number."""

    key: str
    """Where the part stands in a config."""
    part: dict | None
    """The part's config, which receives the number; None if it is left out."""
    argument: str
    """What its class calls the number."""


def share_number(
    name: str, stated: int | None, places: Sequence[Place], default: int
) -> int:
    """Hand a number down to the parts that take it.

    Args:
        name: Key that a config is to say the number by.
        stated: What it says there; None takes what the parts say, as configs of 0.1
            do.
        places: The parts.
        default: The number if nobody says it.

    Returns:
        The number.

    Raises:
        ValueError: If two places say different numbers.
    """
    said = {} if stated is None else {name: stated}
    for key, part, argument in places:
        if part and part.get(argument) is not None:
            said[f'{key}.{argument}'] = part[argument]
    value = next(iter(said.values()), default)
    for other, found in said.items():
        if found != value:
            raise ValueError(
                f'{other} = {found}, but {next(iter(said))} = {value}; they must be '
                f'equal, and it is enough to set {name}'
            )
    for _, part, argument in places:
        if part is not None and _takes(part, argument):
            part[argument] = value
    return value


def share_identities(model: dict, id_decoder: dict, tracker: dict) -> dict[str, int]:
    """Hand down the numbers that ID decoder and tracker share, and say the window.

    Args:
        model: The model's config, which may say the numbers.
        id_decoder: Config of its ID decoder, which receives them.
        tracker: Config of its tracker, which receives them, and ``miss_tolerance`` if
            it says none: a tracker remembers as many frames as the ID decoder can
            tell apart.

    Returns:
        ``num_id_vocabulary`` and ``window``.

    Raises:
        ValueError: If they say different numbers, or the tracker remembers more.
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
    if tolerance - 1 > window:
        raise ValueError(
            f'model.tracker.miss_tolerance = {tolerance} keeps {tolerance - 1} frames '
            f'of history, but model.window = {window}: the ID decoder knows no larger '
            'distance in time; raise the second or lower the first'
        )
    return dict(num_id_vocabulary=words, window=window)


def _takes(part: dict, argument: str) -> bool:
    """Whether the class of a config has an argument of that name."""
    from mmdet.registry import MODELS

    kind = part['type']
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    return kind is not None and argument in inspect.signature(kind).parameters
