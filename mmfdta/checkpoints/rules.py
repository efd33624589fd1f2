# Copyright (c) mmfdta authors.
"""Renaming rules: pairs of name templates that work in both directions.

A template is a parameter name with fields in braces. ``{i}``, ``{j}`` and ``{k}`` mean
a number, ``{i+1}`` that number plus one, and the other fields one of a few words
(`WORDS`). A rule has the template of the source and that of mmfdta; the values that the
fields match on one side are inserted on the other.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

WORDS = {
    'p': ('weight', 'bias'),
    'bn': ('weight', 'bias', 'running_mean', 'running_var'),
    'attn': ('in_proj_weight', 'in_proj_bias', 'out_proj.weight', 'out_proj.bias'),
    'msda': ('sampling_offsets', 'attention_weights', 'value_proj', 'output_proj'),
    'level': ('0', '1', '2'),
}
_FIELD = re.compile(r'\{(\w+)(?:\+(\d+))?\}')


@dataclass(frozen=True)
class Template:
    """A parameter name with fields; see the docstring of the module."""

    text: str

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        pattern, end = '', 0
        for field in _FIELD.finditer(self.text):
            words = WORDS.get(field[1])
            choice = '|'.join(map(re.escape, words)) if words else r'\d+'
            pattern += re.escape(self.text[end : field.start()])
            pattern += f'(?P<{field[1]}>{choice})'
            end = field.end()
        return re.compile(pattern + re.escape(self.text[end:]))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """The number fields and what is added to each."""
        fields = _FIELD.finditer(self.text)
        return {f[1]: int(f[2] or 0) for f in fields if f[1] not in WORDS}

    @cached_property
    def stem(self) -> str:
        """The name up to the last number, which the tensors of a layer share."""
        blank = _FIELD.sub(lambda f: f[0] if f[1] in WORDS else '{}', self.text)
        return blank[: blank.rfind('{}') + 2] if '{}' in blank else ''

    def match(self, name: str) -> dict[str, str] | None:
        """Return the values of the fields; None if ``name`` does not fit."""
        found = self._pattern.fullmatch(name)
        if found is None:
            return None
        values = found.groupdict()
        for field, shift in self._numbers.items():
            number = int(values[field]) - shift
            if number < 0:
                return None
            values[field] = str(number)
        return values

    def fill(self, values: dict[str, str]) -> str:
        """Return the name with the fields replaced by ``values``."""

        def put(field: re.Match[str]) -> str:
            if field[1] in WORDS:
                return values[field[1]]
            return str(int(values[field[1]]) + int(field[2] or 0))

        return _FIELD.sub(put, self.text)

    def layer(self, name: str) -> tuple[int, ...] | None:
        """Return the numbers in ``name``; None if it does not fit."""
        values = self.match(name)
        if values is None:
            return None
        return tuple(int(values[f]) + shift for f, shift in self._numbers.items())

    def in_layer(self, layer: tuple[int, ...]) -> Iterator[str]:
        """Yield all names of the template with these numbers."""
        numbers = {
            field: str(number - shift)
            for (field, shift), number in zip(self._numbers.items(), layer, strict=True)
        }
        if any(int(number) < 0 for number in numbers.values()):
            return
        words = [f[1] for f in _FIELD.finditer(self.text) if f[1] in WORDS]
        for choice in itertools.product(*(WORDS[word] for word in words)):
            yield self.fill(numbers | dict(zip(words, choice, strict=True)))


@dataclass(frozen=True)
class Rule:
    """One line of a renaming table.

    Attributes:
        source: Name in the other code base.
        target: Name in mmfdta.
        part: The part of the model to which it belongs; a checkpoint has all tensors
            of a part or none.
        optional: Whether a checkpoint may have the part without this tensor.
    """

    source: Template
    target: Template
    part: str
    optional: bool = False


@dataclass(frozen=True)
class Alias:
    """A second name of a parameter, under which a checkpoint lists its tensor again.

    Attributes:
        alias: The second name. If it has a number and ``name`` has none, there is one
            for every layer after the first.
        name: The name in the tables.
        layers: mmfdta's tensor whose length is the number of layers; needed if
            ``alias`` has a number and ``name`` has none.
        written: Whether files that are converted to the family also get it.
    """

    alias: Template
    name: Template
    layers: str = ''
    written: bool = True

    def further_names(self, name: str, tensors: Mapping[str, Tensor]) -> Iterator[str]:
        """Yield the aliases of ``name`` in a model with these mmfdta ``tensors``."""
        values = self.name.match(name)
        if values is None or not self.written:
            return
        if not self.layers:
            yield self.alias.fill(values)
        elif self.layers in tensors:
            for layer in range(len(tensors[self.layers]) - 1):
                yield self.alias.fill({'i': str(layer)})


def table(
    part: str,
    pairs: Iterable[tuple[str, str]],
    source: str = '',
    target: str = '',
    optional: bool = False,
) -> tuple[Rule, ...]:
    """Make rules from template pairs.

    Args:
        part: See `Rule`.
        pairs: Templates of the source and of mmfdta.
        source: Prefix of every source template.
        target: Prefix of every mmfdta template.
        optional: See `Rule`.
    """
    return tuple(
        Rule(Template(source + old), Template(target + new), part, optional)
        for old, new in pairs
    )


def to_target(rules: Iterable[Rule], name: str) -> str | None:
    """Return the name in mmfdta of a source tensor; None if no rule fits."""
    for rule in rules:
        values = rule.source.match(name)
        if values is not None:
            return rule.target.fill(values)
    return None


def to_source(rules: Iterable[Rule], name: str) -> str | None:
    """Return the other code base's name of an mmfdta tensor; None if no rule fits."""
    for rule in rules:
        values = rule.target.match(name)
        if values is not None:
            return rule.source.fill(values)
    return None


def absent_parts(rules: Iterable[Rule], names: Iterable[str]) -> list[str]:
    """List the parts of the model without a tensor among the mmfdta ``names``."""
    rules, names = tuple(rules), set(names)
    present = {
        rule.part
        for rule in rules
        if any(rule.target.match(name) is not None for name in names)
    }
    return [p for p in dict.fromkeys(rule.part for rule in rules) if p not in present]


def find_missing(
    rules: Iterable[Rule], names: Iterable[str], optional: bool
) -> list[str]:
    """List names in mmfdta that the given ones imply but that are missing.

    All layers of a stack have the same tensors, and a part with any tensor has all of
    them.

    Args:
        rules: A table whose target side describes the model.
        names: The names that are not missing.
        optional: List tensors that may be missing (True) or that must not (False).

    Returns:
        Sorted names; a stack that is missing completely is listed by its stem.
    """
    rules, names = tuple(rules), set(names)
    absent_part = set(absent_parts(rules, names))
    layers: dict[str, set[tuple[int, ...]]] = {'': {()}}
    for rule in rules:
        found = (rule.target.layer(name) for name in names)
        layers.setdefault(rule.target.stem, set()).update(
            layer for layer in found if layer is not None
        )
    absent = set()
    for rule in rules:
        if rule.part in absent_part or rule.optional is not optional:
            continue
        if not layers[rule.target.stem]:
            absent.add(f'{rule.target.stem}.*')
        for layer in layers[rule.target.stem]:
            absent.update(rule.target.in_layer(layer))
    return sorted(absent - names)
