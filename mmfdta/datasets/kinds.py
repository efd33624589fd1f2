# Copyright (c) mmfdta authors.
"""Finds the class of a data set by the name that a command gets."""

import importlib
from typing import Any

from mmdet.registry import DATASETS

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
) -> MOTSequenceDataset:
    """Make the data set of a split without reading it.

    It is in test mode, so that annotations may be missing.
    """
    # A class of one's own may not know the setting.
    settings: dict[str, Any] = (
        {} if frame_numbers == 'auto' else dict(frame_numbers=frame_numbers)
    )
    return kind(data_root, split=split, test_mode=True, lazy_init=True, **settings)
