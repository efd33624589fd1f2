# Copyright (c) mmfdta authors.
"""Which family of MMEngine, MMCV and MMDetection is installed, and is it sound.

Two families share the import names `mmengine`, `mmcv` and `mmdet`: OneDL's maintained
builds and OpenMMLab's releases. Either serves. None, or a mixture whose files
overwrite each other, is what this module finds before it turns into an obscure error.
"""

import importlib
import importlib.metadata
import importlib.util
import platform
import sys
import warnings
from dataclasses import dataclass, field

MODULES = ('mmengine', 'mmcv', 'mmdet')
INSTALL_COMMANDS = {
    'OneDL': "pip install 'mmfdta[onedl]'",
    'OpenMMLab': "pip install 'mmfdta[openmmlab]'",
}
# Distribution -> (family, import name, versions that docs/compatibility.md covers).
DISTRIBUTIONS = {
    'onedl-mmengine': ('OneDL', 'mmengine', '0.10'),
    'onedl-mmcv': ('OneDL', 'mmcv', '2.3'),
    'onedl-mmdetection': ('OneDL', 'mmdet', '3.5'),
    'mmengine': ('OpenMMLab', 'mmengine', '0.10'),
    'mmengine-lite': ('OpenMMLab', 'mmengine', '0.10'),
    'mmcv': ('OpenMMLab', 'mmcv', '2.1'),
    'mmcv-lite': ('OpenMMLab', 'mmcv', '2.1'),
    'mmcv-full': ('OpenMMLab', 'mmcv', '2.1'),
    'mmdet': ('OpenMMLab', 'mmdet', '3.3'),
}
TESTED_TORCH = '2.13'


@dataclass(frozen=True)
class Environment:
    """What of the two families is installed.

    Attributes:
        versions: Version of each installed distribution of either family.
        missing: Import names that nothing provides.
        torch: Version of PyTorch, or None.
    """

    versions: dict[str, str]
    missing: list[str] = field(default_factory=list)
    torch: str | None = None

    @property
    def families(self) -> list[str]:
        """Names of the families that are at least partly installed."""
        return sorted({DISTRIBUTIONS[name][0] for name in self.versions})


def find_environment(path: list[str] | None = None) -> Environment:
    """Read what is installed from distribution metadata; imports nothing.

    Args:
        path: Folders with the metadata to read instead of those of `sys.path`.

    Returns:
        What was found.
    """
    folders = sys.path if path is None else path
    versions: dict[str, str] = {}
    torch_version = None
    for distribution in importlib.metadata.distributions(path=folders):
        name = (distribution.metadata['Name'] or '').lower().replace('_', '-')
        if name in DISTRIBUTIONS:
            versions.setdefault(name, distribution.version)
        elif name == 'torch':
            torch_version = torch_version or distribution.version
    provided = {DISTRIBUTIONS[name][1] for name in versions}
    missing = [module for module in MODULES if module not in provided]
    if path is None:
        # A source tree on the path needs no metadata.
        missing = [m for m in missing if importlib.util.find_spec(m) is None]
    return Environment(dict(sorted(versions.items())), missing, torch_version)


def check_environment(environment: Environment) -> None:
    """Stop where MMDetection cannot be imported; warn where it may misbehave.

    Args:
        environment: What `find_environment` found.

    Raises:
        ImportError: If MMEngine, MMCV, MMDetection or PyTorch is missing.
    """
    commands = ' or '.join(INSTALL_COMMANDS.values())
    missing = list(environment.missing)
    if environment.torch is None and importlib.util.find_spec('torch') is None:
        missing.append('torch')
    if missing:
        raise ImportError(
            f'mmfdta needs {", ".join(missing)}, which is not installed. Install one '
            f'family of packages: {commands}'
        )
    if len(environment.families) > 1:
        found = ', '.join(f'{n} {v}' for n, v in environment.versions.items())
        warnings.warn(
            'Packages of both the OneDL and the OpenMMLab family are installed '
            f'({found}). They share the names {", ".join(MODULES)}, so that one '
            "overwrites the other's files. Uninstall all of them (pip uninstall "
            f'{" ".join(environment.versions)}), then install one family: {commands}',
            stacklevel=3,
        )
    for message in untested_versions(environment):
        warnings.warn(message, stacklevel=3)


def untested_versions(environment: Environment) -> list[str]:
    """Return one message for each package in a version that was not tested."""
    tested = [(n, v, DISTRIBUTIONS[n][2]) for n, v in environment.versions.items()]
    if environment.torch is not None:
        tested.append(('torch', environment.torch, TESTED_TORCH))
    return [
        f'{name} {version} is installed; mmfdta is tested with {wanted} (see '
        'docs/compatibility.md). Should something fail, try that version.'
        for name, version, wanted in tested
        if version.split('.')[:2] != wanted.split('.')
    ]


def import_mmdet() -> None:
    """Import MMDetection even where its own version check refuses MMCV or MMEngine.

    OpenMMLab's `mmdet/__init__.py` asserts a range of versions (MMDetection 3.3 refuses
    MMCV 2.2); the assertion is turned into a warning.
    """
    try:
        importlib.import_module('mmdet')
    except AssertionError as error:
        warnings.warn(
            f'MMDetection objects, and is used all the same: {error}', stacklevel=3
        )
        import mmcv
        import mmengine

        found = mmcv.__version__, mmengine.__version__
        mmcv.__version__, mmengine.__version__ = '2.1.0', '0.10.7'
        try:
            importlib.import_module('mmdet')
        finally:
            mmcv.__version__, mmengine.__version__ = found


def describe_environment(environment: Environment, compiled: bool) -> str:
    """Return the report of `python -m mmfdta env`.

    Args:
        environment: What `find_environment` found.
        compiled: Whether the compiled MMCV operators are in use.
    """
    import numpy
    import torch

    from mmfdta.version import __version__

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'none'
    lines = {
        'mmfdta': __version__,
        'Python': f'{platform.python_version()} ({platform.platform()})',
        'family': ' and '.join(environment.families) or 'source trees',
        **environment.versions,
        'torch': torch.__version__,
        'CUDA device': device,
        'numpy': numpy.__version__,
        'compiled MMCV operators': 'yes' if compiled else 'no (PyTorch paths)',
    }
    width = max(map(len, lines))
    return '\n'.join(f'{name:{width}}  {value}' for name, value in lines.items())
