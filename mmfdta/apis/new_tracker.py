# Copyright (c) mmfdta authors.
"""Start a tracker of your own; `mmfdta new-tracker` is this."""

import re
from pathlib import Path

import mmfdta
from mmfdta import models
from mmfdta.models.trackers.kinds import KINDS
from mmfdta.structures.whole_files import write_text

_CLASS = 'IoUEmbeddingTracker'
_SOURCE = 'models/trackers/iou_embedding_tracker.py'
_CONFIG = 'iou-embedding_fdta-det_mini'
# Its classes, besides those in the table of trackers; nothing here loads it.
_OF_MMDETECTION = (
    *('ByteTrack', 'DeepSORT', 'OCSORT', 'QDTrack', 'StrongSORT'),
    *('BaseMOTModel', 'MaskTrackRCNNTracker', 'QuasiDenseTracker', 'StrongSORTTracker'),
)
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


def test_a_new_video_starts_from_nothing():
    tracker = {name}()
    for _ in range(2):
        assert tracker.track(detections(0)).instances_id.tolist() == [0, 1]
'''


def write_tracker(name: str, into: Path) -> list[Path]:
    """Write the package of a new tracker.

    Args:
        name: Name of the class, in capitalised words.
        into: Where the package goes.

    Returns:
        The files.

    Raises:
        ValueError: If it is no name for a class, or that of a tracker that there is.
        FileExistsError: If the package is there.
    """
    if not re.fullmatch(r'[A-Z][A-Za-z0-9]*', name):
        raise ValueError(
            f'found {name!r}, expected a name for a class, such as GlueTracker'
        )
    if name in {*models.__all__, *_OF_MMDETECTION, *KINDS}:
        raise ValueError(f'there is a tracker {name} already; choose another name')
    package = re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()
    folder = into / package
    if folder.exists():
        raise FileExistsError(f'{folder} is there already; choose another name')
    texts = {
        '__init__.py': f'from .tracker import {name}\n\n__all__ = [{name!r}]\n',
        'tracker.py': _tracker_text(name),
        f'{package}_mini.py': _config_text(name, package),
        f'test_{package}.py': _TEST.format(name=name, package=package),
    }
    for file, text in texts.items():
        write_text(folder / file, text)
    return [folder / file for file in texts]


def _tracker_text(name: str) -> str:
    """The source of the project's small tracker, from its imports on."""
    path = Path(mmfdta.__file__).parent / _SOURCE
    source = path.read_text(encoding='utf-8')
    imports, code = source[source.index('import torch') :].split('\n\n\n', 1)
    # In a package of its own, mmfdta is one of the libraries.
    lines = [line for line in imports.splitlines() if line]
    lines.sort(key=lambda line: (line.startswith('from '), line))
    head = '\n'.join([f'"""Tracker {name}."""', '', *lines])
    return f'{head}\n\n\n{code.replace(_CLASS, name)}'


def _config_text(name: str, package: str) -> str:
    """The config of the project's small tracker, with the new class."""
    source = Path(*mmfdta.config_paths(f'{_CONFIG}.py')).read_text(encoding='utf-8')
    bases = re.search(r'^_base_ = \[(.*?)\]\n', source, re.M | re.S)
    assert bases is not None, f'{_CONFIG}.py has bases'
    names = re.sub(r"'\./", "'", bases[1]).strip().rstrip(',')
    return (
        f"# {name} on FDTA's detections.\n"
        f"_base_ = __import__('mmfdta').config_paths({names})\n"
        f"imports = ['mmfdta.registry', '{package}']\n"
        'custom_imports = dict(imports=imports)\n'
        f'{source[bases.end() :].replace(_CLASS, name)}'
    )
