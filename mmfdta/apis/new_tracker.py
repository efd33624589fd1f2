# Copyright (c) mmfdta authors.
"""Start a tracker of your own: `python -m mmfdta new-tracker NAME`.

Writes a package with a tracker that works, its config and its test. The tracker
begins as the project's IoUEmbeddingTracker; docs/add_a_tracker.md goes on from
there.
"""

import argparse
import importlib.util
import os
import re
import sys
from pathlib import Path

from mmfdta.structures.mot_text import write_text_atomic

from .config import find_config

_CLASS = 'IoUEmbeddingTracker'
_CONFIG = 'iou-embedding_fdta-det_mini'
_TEST = '''"""{name} follows two objects that cross, by their looks."""

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from {package}.tracker import {name}


def detections(frame: int) -> DetDataSample:
    """Two objects that walk towards each other and change places."""
    left = torch.tensor([10.0 + 4 * frame, 90.0 - 4 * frame])
    boxes = torch.stack([left, 0 * left, left + 20, 0 * left + 40], dim=1)
    sample = DetDataSample(metainfo=dict(frame_id=frame))
    sample.pred_instances = InstanceData(
        bboxes=boxes,
        scores=torch.full((2,), 0.9),
        labels=torch.zeros(2, dtype=torch.int64),
        embeddings=torch.eye(2),
    )
    return sample


def test_identities_follow_the_objects():
    tracker = {name}()
    for frame in range(20):
        tracks = tracker.track(detections(frame))
        assert tracks.instances_id.tolist() == [0, 1], frame


def test_a_new_video_starts_anew():
    tracker = {name}()
    for _ in range(2):
        assert tracker.track(detections(0)).instances_id.tolist() == [0, 1]
'''


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        'python -m mmfdta new-tracker',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('name', help='name of the class, such as GlueTracker')
    parser.add_argument(
        '--into', type=Path, default=Path(), help='folder of the package; this one'
    )
    return parser


def main(arguments: list[str]) -> int:
    """Run the command.

    Args:
        arguments (list[str]): The command line.

    Returns:
        int: Exit code; 1 if the name cannot be used.
    """
    options = build_parser().parse_args(arguments)
    try:
        files = write_tracker(options.name, options.into)
    except (OSError, ValueError) as error:
        print(f'mmfdta new-tracker: {error}', file=sys.stderr)
        return 1
    print('\n'.join(map(str, files)))
    return 0


def write_tracker(name: str, into: Path) -> list[Path]:
    """Write the package of a new tracker.

    Args:
        name (str): Name of the class, in capitalised words.
        into (Path): Where the package goes.

    Returns:
        list[Path]: The files.

    Raises:
        ValueError: If it is no name for a class.
        FileExistsError: If the package is there.
    """
    if not re.fullmatch(r'[A-Z][A-Za-z0-9]*', name) or name == _CLASS:
        raise ValueError(
            f'found {name!r}, expected a name for a class, such as GlueTracker'
        )
    package = re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()
    folder = into / package
    if folder.exists():
        raise FileExistsError(f'{folder} is there already; choose another name')
    texts = {
        '__init__.py': f'from .tracker import {name}\n\n__all__ = [{name!r}]\n',
        'tracker.py': _tracker_text(name),
        f'{package}_mini.py': _config_text(name, package, folder),
        f'test_{package}.py': _TEST.format(name=name, package=package),
    }
    for file, text in texts.items():
        write_text_atomic(folder / file, text)
    return [folder / file for file in texts]


def _tracker_text(name: str) -> str:
    """The source of the project's small tracker, from its imports on."""
    spec = importlib.util.find_spec('mmfdta.models.trackers.iou_embedding_tracker')
    source = Path(spec.origin).read_text(encoding='utf-8')
    code = source[source.index('import torch') :]
    return f'"""Tracker {name}."""\n\n{code.replace(_CLASS, name)}'


def _config_text(name: str, package: str, folder: Path) -> str:
    """The config of the project's small tracker, with the new class."""
    path = find_config(_CONFIG)
    base = os.path.relpath(path.with_name('_base_'), folder)
    source = path.read_text(encoding='utf-8')
    source = source[source.index('_base_ = ') :]
    source = source.replace('./_base_', Path(base).as_posix())
    imports = (
        f"imports = ['mmfdta.registry', '{package}']\n"
        'custom_imports = dict(imports=imports)\n'
    )
    head, blank, rest = source.partition('\n\n')
    return (
        f"# {name} on FDTA's detections.\n"
        f'{head}\n{imports}{blank[1:]}{rest.replace(_CLASS, name)}'
    )
