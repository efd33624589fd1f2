# Copyright (c) mmfdta authors.
"""What is called from outside: training, testing and the Python interface."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inferencer import MOTInferencer

__all__ = ['MOTInferencer']


def __getattr__(name: str) -> Any:
    """Import the inferencer when it is asked for: commands need not wait for it."""
    if name == 'MOTInferencer':
        from .inferencer import MOTInferencer

        return MOTInferencer
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
