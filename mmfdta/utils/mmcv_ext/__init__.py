# Copyright (c) mmfdta authors.
"""MMCV operators with or without their compiled extension.

MMCV's wheels have no compiled operators, but `import mmdet.models` imports the
extension `mmcv._ext` with these operators. `install_operators` leaves a compiled
extension alone. If there is none, it installs a stand-in: some operators are
implemented in PyTorch, on any device, and every other operator raises
`OperatorNotCompiledError` when it is called. MMCV's own functions stay as they are.
"""

import importlib
import importlib.util
import sys
import warnings

from .stand_in import (
    EXTENSION,
    OperatorNotCompiledError,
    StandIn,
    install_command,
    make_stand_in,
)

__all__ = [
    'EXTENSION',
    'OperatorNotCompiledError',
    'has_compiled_operators',
    'install_command',
    'install_operators',
    'make_stand_in',
]


def install_operators() -> bool:
    """Make `mmcv._ext` importable; call it before anything imports `mmcv.ops`.

    Returns:
        Whether the compiled operators are in use.
    """
    if EXTENSION not in sys.modules:
        reason = 'not found'
        if importlib.util.find_spec(EXTENSION) is not None:
            try:
                importlib.import_module(EXTENSION)
            except ImportError as error:
                # Built for another PyTorch: it cannot be used, but is not needed.
                reason = str(error)
                warnings.warn(
                    f'The compiled MMCV operators do not load ({error}); PyTorch '
                    f'replaces them. Compile them again: {install_command()}',
                    stacklevel=2,
                )
        if EXTENSION not in sys.modules:
            sys.modules[EXTENSION] = make_stand_in(reason)
    return has_compiled_operators()


def has_compiled_operators() -> bool:
    """Return whether the extension in use is the compiled one."""
    return not isinstance(sys.modules.get(EXTENSION), StandIn)
