# Copyright (c) mmfdta authors.
"""Finds the class of a data set by the name that a command gets."""

import importlib
from collections.abc import Sequence as SequenceOf
from typing import Any

from mmdet.registry import DATASETS

from mmfdta.structures.classes import choose_classes

from .mot_sequence import MOTSequenceDataset


def known_kinds() -> dict[str, type[MOTSequenceDataset]]:
    """Return the registered data sets of sequences by their short names.

    A short name is that of the class's benchmark; ``mot`` stands for any other data
    in the MOTChallenge layout.
    """
    kinds = {
        kind.BENCHMARK.name: kind
        for kind in DATASETS.module_dict.values()
        if isinstance(kind, type)
        and issubclass(kind, MOTSequenceDataset)
        and 'BENCHMARK' in vars(kind)
    }
    del kinds[MOTSequenceDataset.BENCHMARK.name]
    return {**kinds, 'mot': MOTSequenceDataset}


def find_kind(name: str) -> type[MOTSequenceDataset]:
    """Find the class of a data set.

    Args:
        name: A short name such as ``dancetrack``; the name of a registered class; or
            a class of your own by module and name, ``my_package.data.MyDataset``.

    Raises:
        ValueError: If there is no such data set of sequences.
    """
    kind = known_kinds().get(name.lower()) or DATASETS.module_dict.get(name)
    if kind is None and '.' in name:
        module, _, attribute = name.rpartition('.')
        try:
            kind = getattr(importlib.import_module(module), attribute, None)
        except ModuleNotFoundError as error:
            raise ValueError(f'data set {name!r}: {error}') from None
    if not (isinstance(kind, type) and issubclass(kind, MOTSequenceDataset)):
        raise ValueError(
            f'found data set {name!r}, expected one of {", ".join(known_kinds())}, or '
            'a class derived from MOTSequenceDataset as my_package.my_module.MyDataset'
        )
    return kind


def guess_kind(data_root: str) -> type[MOTSequenceDataset]:
    """Find the class of which something special lies in a folder, else `mot`."""
    kinds = known_kinds().values()
    return next((k for k in kinds if k.recognises(data_root)), MOTSequenceDataset)


def open_split(
    kind: type[MOTSequenceDataset],
    data_root: str,
    split: str,
    frame_numbers: str = 'auto',
    classes: SequenceOf[str] = (),
) -> MOTSequenceDataset:
    """Make the data set of a split without reading it.

    It is in test mode, so that annotations may be missing.

    Args:
        kind: Class of the data set.
        data_root: Its folder.
        split: The split.
        frame_numbers: How frames are read.
        classes: ``NAME=NUMBER`` in the order of labels, see
            :func:`~mmfdta.structures.classes.choose_classes`; none: the data set's.

    Raises:
        ValueError: If classes cannot be understood.
    """
    # A class of one's own may not know the setting.
    settings: dict[str, Any] = (
        {} if frame_numbers == 'auto' else dict(frame_numbers=frame_numbers)
    )

    def build() -> MOTSequenceDataset:
        return kind(data_root, split=split, test_mode=True, lazy_init=True, **settings)

    if not classes:
        return build()
    _, labels = build().find_class_rule()
    numbers = choose_classes(classes, labels)
    settings['category_map'] = {
        number: label
        for label, of_class in enumerate(numbers.values())
        for number in of_class
    }
    settings['metainfo'] = dict(classes=tuple(numbers))
    return build()
