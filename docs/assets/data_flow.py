# Copyright (c) mmfdta authors.
"""Draw the figures of docs/understand_fdta.md and docs/architecture.md.

python docs/assets/data_flow.py
"""

import ast
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GROUND = {'structures', 'utils'}
NETWORK, ADAPTER, LOSS, DATA = '#dbe7f5', '#fbe3cc', '#f3d6dc', '#eeeeee'


@dataclass(frozen=True)
class Box:
    """A step, and the file that takes it.

    Attributes:
        x: Centre, in columns.
        y: Centre, in rows, upwards.
        title: What it is.
        file: Where it is, below the project's folder.
        color: What kind of step it is.
        width: In columns.
    """

    x: float
    y: float
    title: str
    file: str
    color: str = NETWORK
    width: float = 2.0


def draw_box(axes: Axes, box: Box) -> None:
    """Draw a step.

    Raises:
        FileNotFoundError: If its file is not there any more.
    """
    if box.file and not (ROOT / box.file).exists():
        raise FileNotFoundError(box.file)
    left, bottom = box.x - box.width / 2, box.y - 0.32
    axes.add_patch(
        plt.Rectangle((left, bottom), box.width, 0.64, fc=box.color, ec='#555', lw=0.8)
    )
    lift = 0.1 if box.file else 0
    axes.text(box.x, box.y + lift, box.title, ha='center', va='center', size=8.5)
    name = box.file.removeprefix('mmfdta/models/')
    axes.text(
        box.x,
        box.y - 0.16,
        name,
        ha='center',
        va='center',
        size=6,
        family='monospace',
    )


def connect(axes: Axes, start: Box, end: Box, text: str = '') -> None:
    """Draw an arrow between the nearest sides of two boxes."""
    if abs(start.y - end.y) > 0.1:
        sign = 1 if end.y > start.y else -1
        x = end.x if abs(start.x - end.x) < start.width / 2 else start.x
        a, b = (x, start.y + sign * 0.32), (end.x, end.y - sign * 0.32)
    else:
        sign = 1 if end.x > start.x else -1
        a = (start.x + sign * start.width / 2, start.y)
        b = (end.x - sign * end.width / 2, end.y)
    axes.annotate('', b, a, arrowprops=dict(arrowstyle='-|>', lw=0.9, color='#333'))
    if text:
        middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2 + 0.09)
        axes.text(*middle, text, ha='center', size=6.5, color='#333')


def save(axes: Axes, name: str, width: float, height: float) -> None:
    """Save a drawing of this many columns and rows."""
    axes.set(xlim=(0, width), ylim=(0.5, height))
    axes.axis('off')
    axes.figure.savefig(HERE / name, dpi=110, bbox_inches='tight', pad_inches=0.05)
    plt.close(axes.figure)


def draw_training() -> None:
    """A clip through `FDTA.loss`, and a frame through `FDTA.predict`."""
    _, axes = plt.subplots(figsize=(11, 5.6))
    models = 'mmfdta/models/'
    clip = Box(1, 4.6, 'clip or frame', models + 'data_preprocessors', DATA)
    detector = Box(3.4, 4.6, 'detector', models + 'detectors/fdta_detector.py')
    spatial = Box(3.4, 5.7, 'spatial adapter', models + 'adapters/spatial.py', ADAPTER)
    head = Box(5.8, 4.6, 'head, matching', models + 'detectors/fdta_head.py')
    depth = Box(5.8, 5.7, 'depth loss', models + 'losses/depth_bin.py', LOSS)
    boxes = Box(8.2, 4.6, 'class, box losses', models + 'detectors/fdta_head.py', LOSS)
    identity = Box(
        5.8, 3.5, 'identity adapter', models + 'adapters/identity.py', ADAPTER
    )
    contrast = Box(8.2, 3.5, 'contrastive loss', models + 'losses/contrastive.py', LOSS)
    sequences = Box(
        1, 2.4, 'trajectories', models + 'association/trajectories.py', DATA
    )
    history = Box(1, 1.3, 'history', models + 'trackers/fdta_tracker.py', DATA)
    temporal = Box(
        3.4, 2.4, 'temporal adapter', models + 'adapters/temporal.py', ADAPTER
    )
    modeling = Box(
        5.8, 2.4, 'trajectory modelling', models + 'association/trajectories.py'
    )
    decoder = Box(8.2, 2.4, 'ID decoder', models + 'association/id_decoder.py')
    id_loss = Box(8.2, 1.3, 'ID loss', models + 'losses/identity.py', LOSS)
    tracker = Box(5.8, 1.3, 'tracker', models + 'trackers/fdta_tracker.py', DATA)
    tracks = Box(3.4, 1.3, 'tracks', '', DATA)
    for box in (
        *(clip, detector, spatial, head, depth, boxes, identity, contrast, sequences),
        *(history, temporal, modeling, decoder, id_loss, tracker, tracks),
    ):
        draw_box(axes, box)
    arrows = [
        (clip, detector, 'img'),
        (detector, spatial, ''),
        (spatial, depth, ''),
        (detector, head, ''),
        (head, boxes, ''),
        (head, identity, ''),
        (identity, contrast, ''),
        (sequences, temporal, ''),
        (history, sequences, ''),
        (temporal, modeling, ''),
        (modeling, decoder, ''),
        (decoder, id_loss, ''),
        (tracks, history, ''),
        (tracker, tracks, ''),
    ]
    for start, end, text in arrows:
        connect(axes, start, end, text)
    axes.text(1, 3.5, 'matched embeddings', ha='center', size=7)
    arrow = dict(arrowstyle='-|>', lw=0.9, color='#333')
    axes.annotate('', (1, 2.72), (1, 3.4), arrowprops=arrow)
    axes.annotate('', (6.8, 1.3), (7.2, 2.08), arrowprops=arrow)
    axes.text(6.75, 1.75, 'ID scores', ha='center', size=6.5, color='#333')
    axes.text(3.4, 0.72, 'tracking only', ha='center', size=7, style='italic')
    axes.text(8.2, 0.72, 'training only', ha='center', size=7, style='italic')
    save(axes, 'fdta_data_flow.png', 9.4, 6.2)


def find_imports() -> dict[str, set[str]]:
    """Read from the code which package imports which.

    Returns:
        Package -> packages. Those below ``models`` are ``models/NAME``; modules next to
        the packages are left out.
    """
    names = {
        path.parent.relative_to(ROOT / 'mmfdta').as_posix()
        for path in (ROOT / 'mmfdta').glob('**/__init__.py')
    }
    packages = {n for n in names if '/' not in n or n.startswith('models/')}
    packages -= {'.', 'models'}
    imports: dict[str, set[str]] = {name: set() for name in packages}
    for path in (ROOT / 'mmfdta').rglob('*.py'):
        place = path.relative_to(ROOT).parts[:-1]
        package = package_of(path.relative_to(ROOT).parts, packages)
        if package is None:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            modules: list[tuple[str, ...]] = []
            if isinstance(node, ast.ImportFrom):
                base = place[: len(place) - node.level + 1] if node.level else ()
                base += tuple((node.module or '').split('.')) if node.module else ()
                modules = [(*base, alias.name) for alias in node.names]
            elif isinstance(node, ast.Import):
                modules = [tuple(alias.name.split('.')) for alias in node.names]
            found = {package_of(module, packages) for module in modules}
            imports[package] |= {name for name in found if name} - {package}
    return imports


def package_of(module: tuple[str, ...], packages: set[str]) -> str | None:
    """Return the package that a module such as (mmfdta, models, mot) belongs to."""
    if module[0] != 'mmfdta':
        return None
    found = '/'.join(module[1 : 3 if module[1:2] == ('models',) else 2])
    return found if found in packages else None


def find_depths(imports: dict[str, set[str]]) -> dict[str, int]:
    """Return the row of each package: below all that import it; the ground is last.

    Packages that only registries know stand right above what they import.

    Raises:
        graphlib.CycleError: If packages import each other.
    """
    depths = dict.fromkeys(imports, 0)
    for name in reversed(list(TopologicalSorter(imports).static_order())):
        for below in imports[name]:
            depths[below] = max(depths[below], depths[name] + 1)
    depths |= dict.fromkeys(GROUND, max(depths.values()))
    for name in set(imports) - set().union(*imports.values()) - {'cli'}:
        depths[name] = min(depths[below] for below in imports[name]) - 1
    return depths


def direct_imports(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out what a package reaches through another one, and the ground."""
    reached: dict[str, set[str]] = {}
    for name in TopologicalSorter(imports).static_order():
        reached[name] = set().union(
            imports[name], *(reached[below] for below in imports[name])
        )
    return {
        name: {
            below
            for below in found - GROUND
            if not any(below in reached[other] for other in found - {below})
        }
        for name, found in imports.items()
    }


def draw_packages() -> None:
    """The packages and their imports, which point downwards.

    Imports of the ground, and those that another arrow implies, are not drawn.
    """
    imports = find_imports()
    depths, arrows = find_depths(imports), direct_imports(imports)
    rows = max(depths.values()) + 1
    boxes: dict[str, Box] = {}
    width = 13.0
    for depth in range(rows):
        names = [name for name in imports if depths[name] == depth]

        def middle(name: str) -> float:
            above = [boxes[other].x for other in boxes if name in arrows[other]]
            return sum(above) / len(above) if above else width / 2

        names.sort(key=lambda name: (middle(name), name))
        step = width / len(names)
        for i, name in enumerate(names):
            x = (i + 0.5) * step if len(names) > 1 else width / 2
            color = NETWORK if name.startswith('models/') else DATA
            boxes[name] = Box(x, rows - depth, f'{name}/', '', color, 2.9)
    _, axes = plt.subplots(figsize=(width * 0.8, 0.85 * rows))
    for name, found in arrows.items():
        for below in found:
            start, end = boxes[name], boxes[below]
            ends = (end.x, end.y + 0.32), (start.x, start.y - 0.32)
            style = dict(arrowstyle='-|>', lw=0.8, color='#666')
            axes.annotate('', *ends, arrowprops=style, zorder=0)
    for box in boxes.values():
        draw_box(axes, box)
    save(axes, 'packages.png', width, rows + 0.5)


if __name__ == '__main__':
    draw_training()
    draw_packages()
