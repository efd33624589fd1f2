# Copyright (c) mmfdta authors.
"""The layers of the package: who may import whom, what stays light, public names.

docs/architecture.md explains the rules that stand here as data.
"""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# From the top down; a package imports from lower layers only, and inside its own layer
# what ALLOWED says. Below `models` each folder is a package.
LAYERS = (
    ('__main__',),
    ('cli',),
    ('registry',),
    ('minidance',),
    ('apis',),
    ('engine', 'visualization', 'runtime', 'refinement'),
    ('models.mot', 'models', 'datasets', 'evaluation'),
    ('models.association', 'models.detectors', 'models.trackers'),
    ('models.adapters', 'models.losses', 'models.data_preprocessors'),
    ('models.layers',),
    ('ops', 'checkpoints'),
    ('structures', 'utils'),
    ('mmfdta', 'version'),
)
GROUND = {'structures', 'utils', 'mmfdta', 'version'}
# Package -> packages that it may import from.
ALLOWED = {
    'version': set(),
    'mmfdta': {'version'},
    'structures': {'version'},
    'utils': {'structures', 'version'},
    'ops': {*GROUND},
    'checkpoints': {*GROUND},
    'models.layers': {'ops', *GROUND},
    'models.adapters': {'models.layers', 'ops', *GROUND},
    'models.losses': {'ops', *GROUND},
    'models.data_preprocessors': {*GROUND},
    'models.trackers': {*GROUND},
    'models.detectors': {'models.adapters', 'models.layers', 'ops', *GROUND},
    'models.association': {'models.detectors', 'models.layers', 'ops', *GROUND},
    'models.mot': {
        *('models.association', 'models.detectors', 'models.trackers'),
        *('models.layers', *GROUND),
    },
    'models': {'utils'},  # its folders are loaded by name when they are asked for
    'datasets': {*GROUND},
    'evaluation': {*GROUND},
    'visualization': {'evaluation', *GROUND},
    'refinement': {'evaluation', *GROUND},
    'runtime': {'models.trackers', *GROUND},
    'engine': {'evaluation', 'visualization', 'checkpoints', *GROUND},
}
_NETWORKS = {package for package in ALLOWED if package.startswith('models')}
ALLOWED['apis'] = {
    *('engine', 'visualization', 'runtime', 'datasets', 'evaluation', 'ops'),
    'checkpoints',
    *(_NETWORKS | GROUND),
}
ALLOWED['minidance'] = {
    *('apis', 'engine', 'visualization', 'datasets', 'evaluation', 'checkpoints'),
    *GROUND,
}
ALLOWED['registry'] = {
    *('minidance', 'engine', 'visualization', 'models', 'datasets', 'evaluation')
}
ALLOWED['cli'] = {'registry', 'minidance', 'refinement', *ALLOWED['apis'], 'apis'}
ALLOWED['__main__'] = {'cli'}
# What imports no package that loads PyTorch: what the small install runs, and the
# state machine that a deployed tracker needs.
LIGHT = (
    *('mmfdta', 'mmfdta.cli.main', 'mmfdta.evaluation', 'mmfdta.minidance'),
    *('mmfdta.models.trackers.assignment', 'mmfdta.visualization.timeline'),
    *('mmfdta.apis.video_tracker', 'mmfdta.refinement', 'mmfdta.refinement.files'),
    *('mmfdta.apis.archive', 'mmfdta.apis.ray_archive'),
    'mmfdta.models.trackers.gallery',
)
HEAVY = {'torch', 'mmengine', 'mmcv', 'mmdet'}


def module_files() -> dict[str, Path]:
    """The modules of the package, by their names."""
    files = {}
    for path in sorted((ROOT / 'mmfdta').rglob('*.py')):
        parts = path.relative_to(ROOT).with_suffix('').parts
        if '.mim' not in parts:
            name = '.'.join(parts).removesuffix('.__init__')
            files[name] = path
    return files


FILES = module_files()
PACKAGES = [name for name, path in FILES.items() if path.name == '__init__.py']


def package_of(module: str) -> str:
    parts = module.split('.')
    if len(parts) == 1:
        return 'mmfdta'
    return '.'.join(parts[1:3]) if parts[1] == 'models' else parts[1]


def imports(module: str, nodes: list[ast.stmt]) -> Iterator[str]:
    """Modules of the package that some statements import."""
    package = module if module in PACKAGES else module.rpartition('.')[0]
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                above = package.split('.')[: 1 - node.level or None]
                base = '.'.join([*above, *base.split('.')]).rstrip('.')
            inner = [f'{base}.{alias.name}' for alias in node.names]
            names = [name if name in FILES else base for name in inner]
        else:
            continue
        yield from (name for name in names if name.split('.')[0] == 'mmfdta')


def foreign(node: ast.stmt) -> Iterator[str]:
    """Absolute names that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        yield node.module


def tree_of(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding='utf-8'))


def test_the_rules_have_no_circle_and_name_every_package():
    list(TopologicalSorter(ALLOWED).static_order())
    assert {package_of(module) for module in FILES} == set(ALLOWED)
    assert sorted(sum(LAYERS, ())) == sorted(ALLOWED)


def test_arrows_point_downwards():
    height = {package: -i for i, layer in enumerate(LAYERS) for package in layer}
    upwards = {
        f'{package} -> {below}'
        for package, found in ALLOWED.items()
        for below in found
        if height[below] > height[package]
    }
    assert not upwards


def test_packages_take_public_names_from_each_other():
    private = {
        f'{module} imports {alias.name} of {found}'
        for module in FILES
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.ImportFrom)
        for alias, found in zip(node.names, imports(module, [node]), strict=False)
        if alias.name.startswith('_')
        and alias.name != '__version__'
        and package_of(found) != package_of(module)
    }
    assert not private


@pytest.mark.parametrize(
    'module', [*LIGHT, *(m for m in FILES if package_of(m) == 'runtime')]
)
def test_light_modules_load_no_pytorch(module):
    """Nor does anything that comes with them; read off the files."""
    todo, seen = [module], set()
    while todo:
        name = todo.pop()
        parts = name.split('.')
        for known in ('.'.join(parts[:i]) for i in range(1, len(parts) + 1)):
            if known in seen:
                continue
            seen.add(known)
            body = tree_of(known).body
            todo += imports(known, body)
            heavy = HEAVY & {
                found.split('.')[0] for node in body for found in foreign(node)
            }
            assert not heavy, f'{module} loads {known}, which imports {heavy}'


@pytest.mark.parametrize('package', ALLOWED)
def test_a_package_imports_from_packages_below_it_only(package):
    wrong = {
        f'{module} imports {found}'
        for module in FILES
        if package_of(module) == package
        for found in imports(module, list(ast.walk(tree_of(module))))
        if package_of(found) not in {package, *ALLOWED[package]}
    }
    assert not wrong


def test_no_module_imports_itself_through_others():
    """On import; what a function imports when it is called comes later."""
    graph = {
        module: {*imports(module, tree_of(module).body)} - {module} for module in FILES
    }
    assert sum(map(len, graph.values())) > len(FILES)
    assert set().union(*graph.values()) <= set(FILES)
    list(TopologicalSorter(graph).static_order())


def test_a_tool_is_a_thin_command_line():
    """Tools import the package; nothing of the package imports a tool."""
    for path in sorted((ROOT / 'tools').rglob('*.py')):
        assert len(ast.parse(path.read_text(encoding='utf-8')).body) <= 4, path.name
    for module in FILES:
        nodes = ast.walk(tree_of(module))
        found = {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
        assert not {name for name in found if name.split('.')[0] == 'tools'}


@pytest.mark.parametrize('package', PACKAGES)
def test_public_names_exist_and_are_documented(package):
    module = importlib.import_module(package)
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        item = getattr(module, name)
        if inspect.isclass(item) or inspect.isroutine(item) or inspect.ismodule(item):
            assert item.__doc__, f'{package}.{name}'


def documented(package: str) -> Iterator[tuple[str, ast.FunctionDef | None, str]]:
    """Names in a package, the function or constructor behind each, docstrings."""
    for module in FILES:
        if package_of(module) != package:
            continue
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.FunctionDef):
                called = node
            elif isinstance(node, ast.ClassDef):
                methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
                called = next((n for n in methods if n.name == '__init__'), None)
            else:
                continue
            yield f'{module}.{node.name}', called, ast.get_docstring(node) or ''


def section(docstring: str, title: str) -> str:
    found = re.search(rf'^{title}:\n(.*?)(?=^\S|\Z)', docstring, re.M | re.S)
    return found[1] if found else ''


@pytest.mark.parametrize('package', ALLOWED)
def test_types_stand_in_hints_and_not_again_in_docstrings(package):
    wrong = []
    for name, called, text in documented(package):
        entries = section(text, 'Args') + section(text, 'Attributes')
        wrong += [
            f'{name}: {x}' for x in re.findall(r'^ {4}\**\w+ +\(.*', entries, re.M)
        ]
        if called is None or called.returns is None:
            continue
        types = {'Tensor', *re.findall(r'\w+', ast.unparse(called.returns))}
        # A property's first line says what it returns.
        for said in (section(text, 'Returns'), section(text, 'Yields'), text):
            found = re.match(r' *([\w.]+)(\[.*?\])?( \| .*?)?: ', said)
            if found and found[1].split('.')[-1] in types:
                wrong.append(f'{name}: {said.splitlines()[0]}')
    assert not wrong


@pytest.mark.parametrize('package', ALLOWED)
def test_documented_arguments_exist(package):
    wrong = []
    for name, called, text in documented(package):
        if called is not None:
            taken = {n.arg for n in ast.walk(called.args) if isinstance(n, ast.arg)}
            said = re.findall(r'^ {4}\**(\w+)', section(text, 'Args'), re.M)
            wrong += [f'{name}: {argument}' for argument in set(said) - taken]
    assert not wrong
