# Copyright (c) mmfdta authors.
"""Counts that add up over sequences."""

from dataclasses import Field, fields
from typing import ClassVar, TypeVar

CountsT = TypeVar('CountsT', bound='Additive')


class Additive:
    """A dataclass whose fields are added one by one; None stays None."""

    __dataclass_fields__: ClassVar[dict[str, Field]]

    def __add__(self: CountsT, other: CountsT) -> CountsT:
        mine, theirs = (
            [getattr(counts, field.name) for field in fields(self)]
            for counts in (self, other)
        )
        return type(self)(
            *(None if a is None else a + b for a, b in zip(mine, theirs, strict=True))
        )
