# Copyright (c) mmfdta authors.
"""Packages that load their names on first use."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazy_names(
    package: str,
    modules: dict[str, tuple[str, ...]],
    before: Callable[[], None] = lambda: None,
) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a package.

    With it, importing a light module of the package does not load a heavy one.

    Args:
        package: Name of the package.
        modules: Names that each of its modules has.
        before: Called before a module is imported.

    Returns:
        A function that loads a name.
    """
    owners = {name: module for module, names in modules.items() for name in names}

    def load(name: str) -> Any:
        if name not in owners:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        before()
        return getattr(import_module(f'{package}.{owners[name]}'), name)

    return load
