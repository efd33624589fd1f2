# Copyright (c) mmfdta authors.
"""What decides about a result, as a short name: code, weights, settings, files."""

import ast
import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mmcv
import mmdet
import mmengine
import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmfdta.datasets.sequences import Sequence
from mmfdta.models.trackers.kinds import packages_of
from mmfdta.structures.whole_files import hash_file
from mmfdta.version import __version__

PACKAGE = Path(__file__).resolve().parents[1]
# Their versions stand for their code.
FAMILIES = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'numpy', 'scipy')
# What PyTorch and MMEngine keep in a module, and what only training reads.
_NOT_SETTINGS = {
    *vars(nn.Module()),
    'init_cfg',
    'train_cfg',
    '_is_init',
    'dataset_meta',
}
# Folders of this project that make a model and its inputs.
MODEL_CODE = ('models', 'ops', 'utils/mmcv_ext', 'datasets', 'structures')


def digest(*facts: object) -> str:
    """Name facts.

    Args:
        *facts: Anything that JSON can write; the rest counts as its text.

    Returns:
        16 hexadecimal digits.
    """
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file; it is read again only when it has changed.

    Raises:
        OSError: If it cannot be read.
    """
    status = os.stat(path)
    return _file_digest(Path(path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _file_digest(path: Path, size: int, mtime: int) -> str:
    return hash_file(path)


def images_digest(sequence: Sequence) -> str:
    """Name the images of a sequence by folder, file names, sizes and times.

    Without the folder, as where text is enough, folder and file names do.

    Raises:
        FileNotFoundError: If the folder lacks an image.
    """
    folder = Path(sequence.image_dir).absolute()
    states = []
    if folder.is_dir():
        states = [(folder / name).stat() for name in sequence.image_names]
    sizes = [(state.st_size, state.st_mtime_ns) for state in states]
    return digest(folder, sequence.image_names.tolist(), sizes)


def versions() -> dict[str, str]:
    """Versions of what computes, by name."""
    return dict(
        mmfdta=__version__,
        torch=torch.__version__,
        mmengine=mmengine.__version__,
        mmcv=mmcv.__version__,
        mmdet=mmdet.__version__,
    )


# ------------------------------------------------------------------------- code
def code_digest(modules: Iterable[str], folders: Iterable[str | Path]) -> str:
    """Name the source of modules, and of all that they import from own code.

    Own code is the packages of the modules, and whatever else is not an installed
    package: a tracker that is being written counts as it stands. Of this project,
    whole folders count.

    Args:
        modules: Dotted names.
        folders: Folders of which every source file counts, in this project unless
            they are absolute.

    Returns:
        16 hexadecimal digits.
    """
    files = modules_behind(modules)
    for folder in (PACKAGE / folder for folder in folders):
        for path in folder.rglob('*.py'):
            files[str(path.relative_to(folder.parent))] = path
    return digest([(name, file_digest(path)) for name, path in sorted(files.items())])


def modules_behind(names: Iterable[str]) -> dict[str, Path]:
    """Find modules and those that they import, directly or not.

    Args:
        names: Dotted names of modules.

    Returns:
        Source files by dotted names; see :func:`code_digest` for what is left out.
    """
    todo = list(names)
    own = {_top(name) for name in todo}
    found: dict[str, Path] = {}
    while todo:
        name = todo.pop()
        path = None if name in found else _source(name)
        if path is None:
            continue
        if _top(name) in own or not {'site-packages', 'dist-packages'} & {*path.parts}:
            found[name] = path
            todo += _imports_of(name, path, path.stat().st_mtime_ns)
    return found


def _top(name: str) -> str:
    return name.partition('.')[0]


def _source(name: str) -> Path | None:
    """Source file of a module; None if it has none, or nobody but us edits it."""
    if _top(name) in ('mmfdta', *FAMILIES, *sys.stdlib_module_names):
        return None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        spec = None
    origin = getattr(sys.modules.get(name), '__file__', None) or (spec and spec.origin)
    path = Path(origin or '')
    return path.resolve() if path.suffix == '.py' and path.is_file() else None


@functools.lru_cache(maxsize=4096)
def _imports_of(name: str, path: Path, mtime: int) -> list[str]:
    """Modules that a module imports, anywhere in it."""
    package = name if path.name == '__init__.py' else name.rpartition('.')[0]
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                base = importlib.util.resolve_name('.' * node.level + base, package)
            modules = [f'{base}.{alias.name}' for alias in node.names]
            found += [module if _source(module) else base for module in modules]
    return found


def modules_of(*roots: object) -> set[str]:
    """Find the modules that define the classes of built objects.

    Args:
        *roots: Networks, trackers, transforms: whatever is reached through their
            attributes, submodules and containers counts, and so do base classes.

    Returns:
        Dotted names.
    """
    seen: dict[int, object] = {}
    found: set[str] = set()
    todo = list(roots)
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, Tensor | np.ndarray | str | bytes):
            continue
        seen[id(item)] = item
        if isinstance(item, dict):
            todo += item.values()
        elif isinstance(item, list | tuple | set | frozenset):
            todo += item
        elif isinstance(item, type | types.FunctionType | types.MethodType):
            found.add(item.__module__)
        elif hasattr(item, '__dict__') and not isinstance(item, types.ModuleType):
            found.update(base.__module__ for base in type(item).__mro__)
            foreign = _top(type(item).__module__) in (*FAMILIES, 'logging', 'threading')
            # Of a library's objects, networks and pipelines hold what is not its own.
            if (
                not foreign
                or isinstance(item, nn.Module)
                or hasattr(item, 'transforms')
            ):
                todo += vars(item).values()
    return found


def config_code_digest(config: Config) -> str:
    """Name all code that a config's model and data may be made of.

    That is this project's models, operators and data sets, the packages that
    ``custom_imports`` names, and those of classes that the config names in full.

    Args:
        config: Its ``custom_imports`` are imported already.

    Returns:
        16 hexadecimal digits.
    """
    imports = (config.get('custom_imports') or {}).get('imports') or []
    modules = {imports} if isinstance(imports, str) else set(imports)
    text = json.dumps(config.to_dict(), default=str)
    modules.update(re.findall(r'"type": "(?:<class \')?([\w.]+)\.\w+', text))
    sources = [_source(_top(name)) for name in modules]
    packages = {p.parent for p in sources if p and p.name == '__init__.py'}
    known = versions()
    for package in packages_of(text):
        # Who lacks the package is told so where the tracker is built.
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            known[package] = importlib.metadata.version(package)
    return digest(code_digest(modules, [*MODEL_CODE, *packages]), known)


# --------------------------------------------------------------- what was built
def weights_digest(module: nn.Module, skip: Iterable[str] = ()) -> str:
    """Name the parameters and buffers of a network, bit for bit.

    Args:
        module: The network.
        skip: Names of children that do not count.

    Returns:
        16 hexadecimal digits.
    """
    known = hashlib.sha256()
    values = dict(module.named_parameters()) | dict(module.named_buffers())
    for name, value in sorted(values.items()):
        if _top(name) in skip:
            continue
        known.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
        plain = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        known.update(plain.numpy())
    return known.hexdigest()[:16]


def settings_of(module: nn.Module, skip: Iterable[str] = ()) -> list:
    """List the settings of a network as it was built, whatever its config said.

    Args:
        module: The network.
        skip: Names of children that do not count.

    Returns:
        Name, class and plain attributes of each module in it. What is None or
        False counts as not there.
    """
    return [
        (name, type(part).__qualname__, plain_attributes(part, _NOT_SETTINGS))
        for name, part in module.named_modules()
        if _top(name) not in skip
    ]


def plain_attributes(item: object, skip: Iterable[str] = ()) -> dict[str, Any]:
    """Return the attributes of an object that are numbers, names, or made of them.

    Args:
        item: Any object.
        skip: Names that do not count.

    Returns:
        What is None or False counts as not there, and so do private attributes of
        this project's classes: they change while a model runs.
    """
    ours = _top(type(item).__module__) == 'mmfdta'
    found = {}
    for name, value in vars(item).items():
        private = ours and name.startswith('_')
        if name in skip or private or value is None or value is False:
            continue
        with contextlib.suppress(TypeError, ValueError):
            found[name] = json.loads(json.dumps(value))
    return found
