# Copyright (c) mmfdta authors.
"""The rooms of the package: who may import whom, sizes, public names.

docs/architecture.md explains the rules that stand here as data.
"""

import ast
import importlib
import inspect
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODELS = 'models.'
# Room -> rooms that it may import from. Below `models` each folder is a room.
ALLOWED = {
    'version': set(),
    'utils': {'version'},
    'datasets': {'utils'},
    'evaluation': {'utils'},
    'visualization': {'evaluation', 'utils'},
    'engine': {'evaluation', 'visualization', 'utils'},
    'models.layers': {'utils'},
    'models.adapters': {'models.layers', 'utils'},
    'models.losses': {'utils'},
    'models.trackers': {'utils'},
    'models.data_preprocessors': {'utils'},
    'models.detectors': {'models.adapters', 'models.layers', 'utils'},
    'models.association': {'models.detectors', 'models.layers', 'utils'},
    'models.mot': {
        *('models.association', 'models.detectors', 'models.trackers'),
        *('models.layers', 'utils'),
    },
}
# What stands above sees all of it.
ALLOWED['models'] = {room for room in ALLOWED if room.startswith(MODELS)}
ALLOWED['mmfdta'] = {*ALLOWED}
ALLOWED['apis'] = {*ALLOWED}
ALLOWED['__main__'] = {*ALLOWED}
MOST_LINES, MOST_FUNCTION_LINES = 400, 60


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


def room_of(module: str) -> str:
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


def tree_of(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding='utf-8'))


def test_the_rules_have_no_circle_and_name_every_room():
    list(TopologicalSorter(ALLOWED).static_order())
    assert {room_of(module) for module in FILES} == set(ALLOWED)


@pytest.mark.parametrize('room', ALLOWED)
def test_a_room_imports_from_rooms_below_it_only(room):
    wrong = {
        f'{module} imports {found}'
        for module in FILES
        if room_of(module) == room
        for found in imports(module, list(ast.walk(tree_of(module))))
        if room_of(found) not in {room, *ALLOWED[room]}
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


def test_models_and_evaluation_know_no_data_set():
    """Not even through rooms that they may import from."""

    def reach(room: str) -> set[str]:
        return {room}.union(*(reach(below) for below in ALLOWED[room]))

    for room in ALLOWED:
        if room.startswith('models'):
            assert not reach(room) & {'datasets', 'evaluation', 'engine', 'apis'}
    assert reach('datasets') == {'datasets', 'utils', 'version'}
    assert reach('evaluation') == {'evaluation', 'utils', 'version'}
    assert reach('models.trackers') == {'models.trackers', 'utils', 'version'}


def test_a_tool_is_a_thin_command_line():
    """Tools import the package; nothing of the package imports a tool."""
    for path in sorted((ROOT / 'tools').rglob('*.py')):
        assert len(path.read_text(encoding='utf-8').splitlines()) < 100, path.name
    for module in FILES:
        nodes = ast.walk(tree_of(module))
        found = {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
        assert not {name for name in found if name.split('.')[0] == 'tools'}


@pytest.mark.parametrize('module', FILES)
def test_files_and_functions_are_short(module):
    lines = FILES[module].read_text(encoding='utf-8').splitlines()
    assert len(lines) <= MOST_LINES
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(tree_of(module))
        if isinstance(node, kinds)
        and node.end_lineno - node.lineno + 1 > MOST_FUNCTION_LINES
    }
    assert not long


@pytest.mark.parametrize('package', PACKAGES)
def test_public_names_exist_and_are_documented(package):
    module = importlib.import_module(package)
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        item = getattr(module, name)
        if inspect.isclass(item) or inspect.isroutine(item) or inspect.ismodule(item):
            assert item.__doc__, f'{package}.{name}'
