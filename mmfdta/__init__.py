# Copyright (c) mmfdta authors.
"""FDTA and other multi-object trackers as registry classes of MMDetection.

Importing this package loads nothing else. Configs import ``mmfdta.registry``, which
registers every class.
"""

from pathlib import Path

from mmfdta.version import __version__

__all__ = ['__version__', 'config_paths']


def config_paths(*names: str) -> list[str]:
    """Return where configs of the project are, for the ``_base_`` of another config.

    Args:
        *names: Paths below ``configs``, such as ``_base_/default_runtime.py``.

    Returns:
        Their absolute paths, in a wheel or a source tree.

    Raises:
        FileNotFoundError: If there is no such config.
    """
    package = Path(__file__).resolve().parent
    roots = (package / '.mim' / 'configs', package.parent / 'configs')
    found = []
    for name in names:
        paths = [root / name for root in roots if (root / name).is_file()]
        if not paths:
            raise FileNotFoundError(f'{name}: mmfdta has no such config')
        found.append(str(paths[0]))
    return found
