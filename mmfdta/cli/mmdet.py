# Copyright (c) mmfdta authors.
"""Run a tool of MMDetection with this package's classes registered.

Some tools import `mmdet.models` before they read a config, which fails where MMCV's
operators are not compiled. Here everything is registered first, and the tool is then
run unchanged. `mmfdta mmdet` lists the tools.
"""

import argparse
import importlib.util
import runpy
import sys
from pathlib import Path

FOLDERS = ('tools', 'demo')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument(
        'tool',
        nargs='?',
        metavar='TOOL',
        help='such as train or analysis_tools/browse_dataset; without it, all are '
        'listed',
    )
    parser.add_argument(
        'arguments',
        nargs=argparse.REMAINDER,
        metavar='ARGUMENTS',
        help='what the tool takes; --help shows it',
    )


def run(options: argparse.Namespace) -> int:
    """Run the tool, or list all.

    Args:
        options: What `add_arguments` defines.

    Returns:
        The exit code.

    Raises:
        ImportError: If MMDetection is not installed.
        ValueError: If MMDetection has no such tool, or several.
    """
    tools = list_tools()
    if options.tool is None:
        print('\n'.join(tools))
        return 0
    path = find_tool(options.tool, tools)

    import mmfdta.registry  # noqa: F401
    from mmfdta.utils.safe_loading import require_safe_loading

    require_safe_loading()
    before = sys.argv, list(sys.path)
    # As Python does for a script.
    sys.argv = [str(path), *options.arguments]
    sys.path.insert(0, str(path.parent))
    try:
        runpy.run_path(str(path), run_name='__main__')
    finally:
        sys.argv, sys.path[:] = before
    return 0


def list_tools() -> dict[str, Path]:
    """Find MMDetection's tools and demos without importing it.

    Returns:
        Path of each, by its name: the path below `tools/` or `demo/` without `.py`.

    Raises:
        ImportError: If MMDetection is not installed.
    """
    found = importlib.util.find_spec('mmdet')
    if found is None or found.origin is None:
        raise ImportError(
            'mmdet is not installed; `mmfdta env` says how to install a family'
        )
    package = Path(found.origin).parent
    # An install has them in .mim, a source tree next to the package.
    root = package / '.mim' if (package / '.mim').is_dir() else package.parent
    tools: dict[str, Path] = {}
    for folder in (root / name for name in FOLDERS):
        for path in sorted(folder.rglob('*.py')):
            name = path.relative_to(folder).with_suffix('').as_posix()
            if not name.endswith('__init__'):
                tools.setdefault(name, path)
    return tools


def find_tool(name: str, tools: dict[str, Path]) -> Path:
    """Find one by its name or by the last part of it.

    Args:
        name: Such as `train`, `test.py` or `analysis_tools/browse_dataset`.
        tools: What `list_tools` found.

    Returns:
        Its path.

    Raises:
        ValueError: If there is none, or several.
    """
    wanted = name.removesuffix('.py')
    for folder in FOLDERS:
        wanted = wanted.removeprefix(f'{folder}/')
    if wanted in tools:
        return tools[wanted]
    alike = [tool for tool in tools if tool.endswith(f'/{wanted}')]
    if len(alike) == 1:
        return tools[alike[0]]
    if alike:
        raise ValueError(f'there are several tools {name!r}: {", ".join(alike)}')
    raise ValueError(
        f'MMDetection has no tool {name!r} here; `mmfdta mmdet` lists the '
        f'{len(tools)} it has'
    )
