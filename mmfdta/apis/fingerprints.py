# Copyright (c) mmfdta authors.
"""What decides about a result, as a short name: code, weights, settings, files."""

import ast
import functools
import hashlib
import importlib.util
import json
import os
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import mmcv
import mmdet
import mmengine
import numpy as np
import torch
from mmdet.registry import DATASETS, MODELS, TASK_UTILS, TRANSFORMS
from mmengine.config import Config
from torch import Tensor, nn

from mmfdta.datasets.sequences import Sequence
from mmfdta.version import __version__

PACKAGE = Path(__file__).resolve().parents[1]
# Their versions stand for their code.
FAMILIES = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'numpy', 'scipy')
_INSTALLED = [
    Path(sysconfig.get_path(name)).resolve()
    for name in ('stdlib', 'platstdlib', 'purelib', 'platlib')
]
# What PyTorch and MMEngine keep in a module, and what only training reads.
_NOT_SETTINGS = {
    *vars(nn.Module()),
    'init_cfg',
    'train_cfg',
    '_is_init',
    'dataset_meta',
}
_PLAIN = (bool, int, float, str)


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
    path = Path(path)
    status = path.stat()
    return _file_digest(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _file_digest(path: Path, size: int, mtime: int) -> str:
    known = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            known.update(block)
    return known.hexdigest()


def images_digest(sequence: Sequence) -> str:
    """Name the images of a sequence by folder, file names, sizes and times.

    Raises:
        FileNotFoundError: If an image is missing.
    """
    folder = os.path.abspath(sequence.image_dir)
    states = (os.stat(os.path.join(folder, name)) for name in sequence.image_names)
    files = [
        (str(name), state.st_size, state.st_mtime_ns)
        for name, state in zip(sequence.image_names, states, strict=True)
    ]
    return digest(folder, files)


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
def code_digest(modules: Iterable[str], folders: Iterable[Path] = ()) -> str:
    """Name the source of modules and of all that they import from own code.

    Own code is this project, the packages of the modules, and whatever else is not
    an installed package: a tracker that is being written counts as it stands.

    Args:
        modules: Dotted names.
        folders: Folders of which every source file counts as well.

    Returns:
        16 hexadecimal digits.
    """
    files = {name: str(path) for name, path in modules_behind(modules).items()}
    for folder in folders:
        for path in folder.rglob('*.py'):
            files[f'{folder.name}/{path.relative_to(folder)}'] = str(path)
    return digest([(name, file_digest(path)) for name, path in sorted(files.items())])


def modules_behind(names: Iterable[str]) -> dict[str, Path]:
    """Find modules and those that they import, directly or not.

    Args:
        names: Dotted names of modules.

    Returns:
        Source files by dotted names; see :func:`code_digest` for what is left out.
    """
    todo = [name for name in names if _top(name) not in FAMILIES]
    own = {_top(name) for name in todo} | {'mmfdta'}
    found: dict[str, Path] = {}
    while todo:
        name = todo.pop()
        path = None if name in found else _source(name)
        if path is None or (_top(name) not in own and _is_installed(path)):
            continue
        found[name] = path
        todo += _imports_of(name, path, path.stat().st_mtime_ns)
    return found


def _top(name: str) -> str:
    return name.partition('.')[0]


def _source(name: str) -> Path | None:
    """Source file of a module; None if there is no such module, or it has none."""
    if _top(name) in FAMILIES or _top(name) in sys.stdlib_module_names:
        return None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        spec = None
    origin = getattr(sys.modules.get(name), '__file__', None) or (spec and spec.origin)
    path = Path(origin or '')
    return path.resolve() if path.suffix == '.py' and path.is_file() else None


def _is_installed(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in _INSTALLED)


@functools.lru_cache(maxsize=4096)
def _imports_of(name: str, path: Path, mtime: int) -> tuple[str, ...]:
    """Modules that a module imports, anywhere in it."""
    package = name if path.name == '__init__.py' else name.rpartition('.')[0]
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                parents = package.split('.')
                above = parents[: len(parents) - node.level + 1]
                base = '.'.join([*above, base]).rstrip('.')
            found += [_home_of(base, alias.name) for alias in node.names]
    return tuple(dict.fromkeys(found))


def _home_of(base: str, name: str) -> str:
    """Module that ``from base import name`` takes a name from, or brings."""
    if _source(f'{base}.{name}') is not None:
        return f'{base}.{name}'
    if _top(base) == 'mmfdta' and base in sys.modules:
        # Its packages hand on what their modules define.
        item = getattr(sys.modules[base], name, None)
        home = getattr(item, '__module__', None)
        if isinstance(home, str) and _top(home) == 'mmfdta':
            return home
    return base


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
            if not foreign or isinstance(item, nn.Module) or _has_steps(item):
                todo += vars(item).values()
    return {name for name in found if _top(name) != 'builtins'}


def _has_steps(item: object) -> bool:
    """Whether an object of a library is a pipeline of transforms."""
    return hasattr(item, 'transforms')


def config_code_digest(config: Config) -> str:
    """Name all code that a config's model and data may be made of.

    That is this project's models, operators and data sets, the packages that
    ``custom_imports`` names, and the modules of every class that the config names.

    Args:
        config: Its ``custom_imports`` are imported already.

    Returns:
        16 hexadecimal digits.
    """
    imports = (config.get('custom_imports') or {}).get('imports') or []
    named = [imports] if isinstance(imports, str) else list(imports)
    kinds = {k for part in (config.model, config) for k in _types_in(part)}
    modules = {name for name in named if _top(name) != 'mmfdta'}
    modules |= {kind.__module__ for kind in map(_find_class, kinds) if kind}
    folders = [PACKAGE / name for name in ('models', 'ops', 'datasets', 'structures')]
    for name in sorted({_top(name) for name in modules} - {'mmfdta', *FAMILIES}):
        path = _source(name)
        if path is not None and path.name == '__init__.py':
            folders.append(path.parent)
    return digest(code_digest(modules, folders), versions())


def _types_in(part: Any) -> Iterator[str | type]:
    if isinstance(part, dict):
        kind = part.get('type')
        if isinstance(kind, str | type):
            yield kind
        part = list(part.values())
    if isinstance(part, list | tuple):
        for item in part:
            yield from _types_in(item)


def _find_class(kind: str | type) -> type | None:
    """Find a class by its name in the registries of models and data."""
    if isinstance(kind, type):
        return kind
    for registry in (MODELS, TASK_UTILS, DATASETS, TRANSFORMS):
        found = registry.get(kind) if '.' not in kind else None
        if isinstance(found, type):
            return found
    return None


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
    facts = []
    for name, part in module.named_modules():
        if _top(name) in skip:
            continue
        settings = plain_attributes(part, _NOT_SETTINGS)
        facts.append((name, type(part).__qualname__, settings))
    return facts


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
    found = {
        name: value
        for name, value in vars(item).items()
        if name not in skip and not (ours and name.startswith('_')) and _is_plain(value)
    }
    return {k: _plain(v) for k, v in found.items() if v is not None and v is not False}


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(part) for part in value.values())
    if isinstance(value, list | tuple):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, _PLAIN)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
