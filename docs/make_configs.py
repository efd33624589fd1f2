# Copyright (c) mmfdta authors.
"""Write docs/configs.md, every config and setting, and docs/registries.md, every class.

python docs/make_configs.py
"""

import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import mmdet.registry
import mmengine.registry
from mmengine.config import Config
from mmengine.registry import Registry

import mmfdta.registry
from mmfdta import minidance

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'configs.md'
REGISTRIES = ROOT / 'docs' / 'registries.md'
SECTIONS = {
    'mmfdta.models': 'Models, losses and trackers',
    'mmfdta.datasets': 'Data',
    'mmfdta.evaluation': 'Evaluation',
    'mmfdta.engine': 'Training',
    'mmfdta.visualization': 'Visualization',
}
HEAD = """# Configs and settings

Find a config to start from, and look up what each setting means. The [model
zoo](model_zoo.md) has the scores and weights of each config.

```shell
mmfdta track people.mp4 --config bytetrack_yolox-s_coco
mmfdta train fdta_dancetrack --cfg-options model.tracker.det_thr=0.4
```

**Names.** A name is `TRACKER_DATASET` if the tracker has its own detector, and
`TRACKER_DETECTOR_DATASET` otherwise. `fdta-det` is the detector of FDTA, `fdta-dino`
that of FDTA on DINO. `mini` is [MiniDance](minidance.md). Commands accept the name with
or without `.py`, or the path of a config.

**Your own config.** A config is a Python file. It names the configs that it is based on
in `_base_` and contains only what differs from them. In a folder of your own, and if
you installed a wheel, `_base_ = __import__('mmfdta').config_paths('fdta_mini.py')`
finds them.

**The command line.** `--cfg-options` changes any value. Keys with dots say where it is.
Elements of a list have numbers, counted from 0: `custom_hooks.1.interval=500`.

**Classes.** Where a config names a class by `type`, it can also give the settings in
the table of that class. "In the configs" says where mmfdta's own configs have the
class. If several do, it is the place in `fdta_dancetrack`, if that config has it.

`python docs/make_configs.py` writes this page from the configs and the docstrings.
"""


REGISTRIES_HEAD = """# Registered classes

Find a class that a config can name by `type`. `import mmfdta.registry` adds these
classes to the registries of `mmdet.registry`. [Build from
configs](api.md#build-from-configs) shows how to build one. A name leads to the settings
of its class.

`python docs/make_configs.py` writes this page from the registries and the docstrings.
"""


def describe_config(path: Path) -> str:
    """Return what the comment at a config's top says, as one line with links."""
    lines = []
    for line in path.read_text(encoding='utf-8').splitlines():
        if not line.startswith('#'):
            break
        lines.append(line.lstrip('# '))
    text = ' '.join(lines)
    return re.sub(
        r'docs/(\w+)\.md', lambda m: f'[{m[1].replace("_", " ")}]({m[1]}.md)', text
    )


def config_table() -> list[str]:
    """List the configs with their descriptions."""
    rows = ['| config | trains | description |', '| --- | --- | --- |']
    for path in sorted((ROOT / 'configs').glob('*.py')):
        config = Config.fromfile(path)
        trains = 'yes' if config.get('train_dataloader') else 'no'
        rows.append(f'| `{path.name}` | {trains} | {describe_config(path)} |')
    rows += ['', '| base config | content |', '| --- | --- |']
    for path in sorted((ROOT / 'configs' / '_base_').rglob('*.py')):
        name = path.relative_to(ROOT / 'configs').as_posix()
        text = re.split(r'(?<=[a-z)])[.;] ', describe_config(path))[0].rstrip('.')
        rows.append(f'| `{name}` | {text or "Runner and hooks"} |')
    return rows


def registered_by_registry() -> dict[str, dict[str, type]]:
    """Return this project's classes that a config can name, by registry and name."""
    assert minidance.MiniDanceDataset and mmfdta.registry
    found: dict[str, dict[str, type]] = {}
    for module in (mmdet.registry, mmengine.registry):
        for label, registry in vars(module).items():
            if isinstance(registry, Registry):
                for name, item in registry.module_dict.items():
                    if item.__module__.startswith('mmfdta.'):
                        found.setdefault(label, {})[name] = item
    return {label: dict(sorted(found[label].items())) for label in sorted(found)}


def registered_classes() -> dict[str, type]:
    """Return the classes of all registries, by name."""
    found: dict[str, type] = {}
    for classes in registered_by_registry().values():
        found |= classes
    return dict(sorted(found.items()))


def find_places() -> dict[str, str]:
    """Find where the configs have each type, FDTA's before the others."""
    places: dict[str, str] = {}

    def walk(value: object, key: str) -> None:
        if isinstance(value, dict):
            if isinstance(value.get('type'), str):
                places.setdefault(value['type'], key)
            for part, inner in value.items():
                walk(inner, f'{key}.{part}' if key else str(part))
        elif isinstance(value, (list, tuple)):
            for i, inner in enumerate(value):
                walk(inner, f'{key}.{i}')

    paths = sorted((ROOT / 'configs').glob('*.py'))
    for path in sorted(paths, key=lambda path: path.stem != 'fdta_dancetrack'):
        config = Config.fromfile(path).to_dict()
        sections = ('model', 'train', 'val', 'optim', 'param', 'default_h', 'custom_h')
        for part in config:
            if part.startswith(sections) and not part.endswith('pipeline'):
                walk(config[part], part)
    return places


def read_arguments(cls: type) -> dict[str, str]:
    """Read the `Args` section of a class's own docstring."""
    section = re.search(
        r'^Args:\n(.*?)(?=^\S|\Z)', inspect.cleandoc(cls.__doc__ or ''), re.M | re.S
    )
    texts: dict[str, str] = {}
    name = ''
    for line in section.group(1).splitlines() if section else ():
        start = re.match(r'    (\**\w+)(?: \([^)]*\))?:(?: (.*)|$)', line)
        if start:
            name = start.group(1).lstrip('*')
            texts[name] = start.group(2) or ''
        elif name:
            texts[name] += f' {line.strip()}'
    return texts


def name_type(hint: object) -> str:
    """Name a hint as a config's author writes its value; None stands as a default."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        names = [name_type(part) for part in typing.get_args(hint)]
        return ' or '.join(dict.fromkeys(name for name in names if name))
    if hint in (types.NoneType, inspect.Parameter.empty):
        return ''
    if typing.get_origin(hint) is typing.Literal:
        return ' or '.join(repr(value) for value in typing.get_args(hint))
    kind = typing.get_origin(hint) or hint
    if isinstance(kind, type):
        inner = [x for x in typing.get_args(hint) if x is not ...]
        if issubclass(kind, dict) or not inner:
            return 'dict' if issubclass(kind, dict) else kind.__name__.lstrip('_')
        of = ' and '.join(dict.fromkeys(filter(None, map(name_type, inner))))
        return f'{kind.__name__.lower()} of {of}'
    return str(hint)


def arguments(cls: type) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, type, default and meaning of what a config may set.

    Raises:
        ValueError: If it is documented neither here nor in a class that it extends.
    """
    texts: dict[str, str] = {}
    for ancestor in reversed(cls.__mro__):
        texts |= read_arguments(ancestor)
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if name in ('init_cfg', 'args', 'kwargs'):
            continue
        if name not in texts:
            raise ValueError(f'{cls.__name__}: argument {name!r} has no docstring')
        default = parameter.default
        shown = 'required' if default is parameter.empty else f'`{default!r}`'
        yield name, name_type(parameter.annotation), shown, texts[name]


def tidy(text: str) -> str:
    """Turn the markup of docstrings into Markdown for a table's cell."""
    text = re.sub(r':\w+:`~?([^`]+)`', r'`\1`', ' '.join(text.split()))
    return text.replace('``', '`').replace('|', '\\|')


def class_section(name: str, cls: type, place: str) -> list[str]:
    """Write the section of one class."""
    first = (inspect.getdoc(cls) or '').split('\n\n')[0]
    where = f' In the configs: `{place}`.' if place else ''
    lines = [f'### {name}', '', f'{tidy(first)}{where}', '']
    rows = list(arguments(cls))
    if rows:
        lines += ['| setting | type | default | meaning |', '| --- | --- | --- | --- |']
        lines += [
            f'| `{row[0]}` | ' + ' | '.join(map(tidy, row[1:])) + ' |' for row in rows
        ]
        lines.append('')
    return lines


def build_page() -> str:
    """Return the whole page."""
    lines = [HEAD, '## Configs', '', *config_table(), '']
    places = find_places()
    classes = registered_classes()
    for package, title in SECTIONS.items():
        lines += [f'## {title}', '']
        for name, cls in classes.items():
            if cls.__module__.startswith(package):
                lines += class_section(name, cls, places.get(name, ''))
    return '\n'.join(lines).rstrip() + '\n'


def build_registries() -> str:
    """Return the page of the registries."""
    lines = [REGISTRIES_HEAD]
    for label, classes in registered_by_registry().items():
        lines += [f'## {label}', '', '| class | description |', '| --- | --- |']
        for name, cls in classes.items():
            shown = f'`{name}`'
            if cls.__module__.startswith(tuple(SECTIONS)):
                shown = f'[{shown}](configs.md#{name.lower()})'
            first = (inspect.getdoc(cls) or '').split('\n\n')[0]
            lines.append(f'| {shown} | {tidy(first)} |')
        lines.append('')
    return '\n'.join(lines).rstrip() + '\n'


def main() -> int:
    """Write the pages."""
    PAGE.write_text(build_page(), encoding='utf-8')
    REGISTRIES.write_text(build_registries(), encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
