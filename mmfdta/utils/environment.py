# Copyright (c) mmfdta authors.
"""Finds and checks the installed family of MMEngine, MMCV and MMDetection.

Two families share the import names `mmengine`, `mmcv` and `mmdet`: OneDL's maintained
builds and OpenMMLab's releases. Both work. This module reports it if neither is
installed, or a mixture whose files overwrite each other, before this causes an obscure
error. `prepare_mmdet` does everything that must happen before MMDetection is imported.
"""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
import platform
import sys
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

MODULES = ('mmengine', 'mmcv', 'mmdet')
# Packages that tracking needs in addition to the core.
RUNTIME = ('av', 'supervision', 'onnxruntime')
INSTALL = "pip install 'mmfdta[onedl]' or pip install 'mmfdta[openmmlab]'"
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


@cache
def prepare_mmdet() -> None:
    """Make MMDetection importable, and checkpoints loadable; once in a process.

    Checks the installed family of packages, installs the stand-in for ``mmcv._ext`` if
    MMCV's operators are not compiled, and declares the classes in MMEngine's training
    states safe to load. The order matters: ``mmdet.structures`` and ``mmdet.models``
    import ``mmcv._ext``.

    Raises:
        ImportError: If MMEngine, MMCV, MMDetection or PyTorch is missing.
    """
    check_environment(find_environment())
    from .mmcv_ext import install_operators

    install_operators()
    import_mmdet()
    with contextlib.redirect_stdout(io.StringIO()):
        # OneDL's version prints that it leaves out some data sets.
        importlib.import_module('mmdet.datasets')
    from .safe_loading import allow_training_state

    allow_training_state()


@dataclass(frozen=True)
class Environment:
    """The installed packages of both families.

    Attributes:
        versions: Version of each installed distribution of either family.
        missing: Import names that no distribution provides.
        torch: Version of PyTorch, or None.
    """

    versions: dict[str, str]
    missing: list[str] = field(default_factory=list)
    torch: str | None = None

    @property
    def all_missing(self) -> list[str]:
        """Import names that networks need and that are missing, including PyTorch."""
        return self.missing + ([] if self.torch else ['torch'])

    @property
    def families(self) -> list[str]:
        """Names of the families that are at least partly installed."""
        return sorted({DISTRIBUTIONS[name][0] for name in self.versions})


def find_environment(path: list[str] | None = None) -> Environment:
    """Find installed packages from their metadata, without importing them.

    Args:
        path: Folders with the metadata; None reads those of `sys.path`.
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
        if torch_version is None and importlib.util.find_spec('torch') is not None:
            torch_version = 'unknown'
    return Environment(dict(sorted(versions.items())), missing, torch_version)


def check_environment(environment: Environment) -> None:
    """Stop if MMDetection cannot be imported; warn if it may not work.

    Raises:
        ImportError: If MMEngine, MMCV, MMDetection or PyTorch is missing.
    """
    if environment.all_missing:
        raise ImportError(explain_missing(environment.all_missing))
    if len(environment.families) > 1:
        found = ', '.join(f'{n} {v}' for n, v in environment.versions.items())
        warnings.warn(
            'Packages of both the OneDL and the OpenMMLab family are installed '
            f'({found}). They share the names {", ".join(MODULES)}, so that one '
            "overwrites the other's files. Uninstall all of them (pip uninstall "
            f'{" ".join(environment.versions)}), then install one family: {INSTALL}',
            stacklevel=3,
        )
    for message in untested_versions(environment):
        warnings.warn(message, stacklevel=3)


def explain_missing(packages: list[str]) -> str:
    """Return the message for packages that are needed and not installed."""
    are = 'is' if len(packages) == 1 else 'are'
    named = f'this needs {", ".join(packages)}, which {are} not installed.'
    if set(packages) <= set(RUNTIME):
        return (
            f"{named} pip install 'mmfdta[runtime]' installs what exported models need"
        )
    return f'{named} Install one family of packages: {INSTALL}'


def untested_versions(environment: Environment) -> list[str]:
    """Return one message for each package in a version that was not tested."""
    tested = [(n, v, DISTRIBUTIONS[n][2]) for n, v in environment.versions.items()]
    if environment.torch not in (None, 'unknown'):
        tested.append(('torch', environment.torch, TESTED_TORCH))
    return [
        f'{name} {version} is installed; mmfdta is tested with {wanted} (see '
        'docs/compatibility.md). If something fails, try that version.'
        for name, version, wanted in tested
        if version.split('.')[:2] != wanted.split('.')
    ]


def import_mmdet() -> None:
    """Import MMDetection even if its own version check refuses MMCV or MMEngine.

    OpenMMLab's `mmdet/__init__.py` asserts a range of versions (MMDetection 3.3 refuses
    MMCV 2.2). This becomes a warning.
    """
    try:
        importlib.import_module('mmdet')
    except AssertionError as error:
        warnings.warn(
            f'MMDetection refuses these versions, but is used with them: {error}',
            stacklevel=3,
        )
        import mmcv
        import mmengine

        found = mmcv.__version__, mmengine.__version__
        mmcv.__version__, mmengine.__version__ = '2.1.0', '0.10.7'
        try:
            importlib.import_module('mmdet')
        finally:
            mmcv.__version__, mmengine.__version__ = found


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(':', 1)[1] for line in lines if line.startswith('model name')]
    return names[0].strip() if names else platform.machine()


def _version_of_onnxruntime() -> str:
    """Return the version of any of its builds, with its execution providers."""
    if importlib.util.find_spec('onnxruntime') is None:
        return "not installed; exported models need it: pip install 'mmfdta[runtime]'"
    import onnxruntime

    names = onnxruntime.get_available_providers()
    listed = ', '.join(name.removesuffix('ExecutionProvider') for name in names)
    return f'{onnxruntime.__version__} ({listed})'


def describe_environment(environment: Environment) -> str:
    """Return the report of `mmfdta env`, which is shorter without PyTorch."""
    import numpy

    from mmfdta.version import __version__

    lines = {
        'mmfdta': __version__,
        'Python': f'{platform.python_version()} ({platform.platform()})',
        'family': ' and '.join(environment.families) or 'source trees',
        **environment.versions,
        'numpy': numpy.__version__,
        'onnxruntime': _version_of_onnxruntime(),
    }
    if environment.all_missing:
        lines['family'] = f'none ({", ".join(environment.all_missing)} not found)'
        lines['to train, or track with a config'] = INSTALL
    else:
        import torch

        from .mmcv_ext import install_operators
        from .threads import describe_waiting

        compiled = install_operators()
        lines['torch'] = torch.__version__
        lines['threads'] = (
            f'{torch.get_num_threads()}; waiting ones: {describe_waiting()}'
        )
        lines['CUDA device'] = (
            torch.cuda.get_device_name() if torch.cuda.is_available() else 'none'
        )
        lines['compiled MMCV operators'] = 'yes' if compiled else 'no (PyTorch paths)'
    width = max(map(len, lines))
    return '\n'.join(f'{name:{width}}  {value}' for name, value in lines.items())
