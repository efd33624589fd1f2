# Copyright (c) mmfdta authors.
"""BDD100K box tracking: ``<sequence>.json``, a list of frames with labels.

A frame has ``index`` (``frameIndex`` in newer files) and ``labels``; a label has
``id``, ``category``, ``box2d`` with ``x1, y1, x2, y2`` and maybe ``attributes``. Frames
are put in the order of their indices, and both sides have as many. Results are the
same, maybe with a ``score``. Sources: BDD100K's format (doc/format.md of bdd-data);
TrackEval 1.3.0, bdd100k.py.

Ground truth of the categories other person, trailer and other vehicle, and what has
the attribute ``Crowd`` (``crowd``), is a region to ignore for all classes.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mmfdta.structures.tracks import Tracks

from ..folders import TextSide, find_files
from . import Annotations, CornerTracks, Side
from .reading import (
    find_json,
    first_character,
    get,
    read_json,
    refuse_repeats,
    to_number,
    to_whole,
)

_NUMBERS = {
    'pedestrian': 1,
    'rider': 2,
    'other person': 3,
    'car': 4,
    'bus': 5,
    'truck': 6,
    'train': 7,
    'trailer': 8,
    'other vehicle': 9,
    'motorcycle': 10,
    'bicycle': 11,
}
_NAMES = {number: name for name, number in _NUMBERS.items()}
_REGIONS = ('other person', 'trailer', 'other vehicle')
_INDEX = ('index', 'frameIndex')
_CORNERS = ('x1', 'y1', 'x2', 'y2')


@dataclass(frozen=True)
class Bdd100kSide:
    """Ground truth or results, a file for each sequence.

    Attributes:
        paths: Files by name.
        is_truth: These are labels and no results.
    """

    paths: dict[str, Path]
    is_truth: bool = True

    title: ClassVar[str] = 'BDD100K JSON'
    benchmark: ClassVar[str] = 'bdd100k'
    classes: ClassVar[None] = None
    class_names: ClassVar[dict[int, str]] = _NAMES
    remarks: ClassVar[list[str]] = []

    @property
    def names(self) -> list[str]:
        """Names of the sequences, sorted."""
        return sorted(self.paths)

    def read(self, name: str) -> Annotations:
        """Read a sequence.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: At the first fault; the message names file and key.
        """
        path = self.paths[name]
        frames = _read_frames(path)
        rows, places, is_region = [], [], []
        for number, (where, frame) in enumerate(frames, 1):
            labels = frame.get('labels')
            if labels is None:  # a frame without objects
                continue
            for i, label in enumerate(get(frame, 'labels', where, list)):
                place = f'{where}.labels[{i}]'
                rows.append((number, *_read_label(label, place)))
                places.append(place)
                is_region.append(self.is_truth and _is_region(label, place))
        columns = list(zip(*rows, strict=True)) or [()] * 5
        tracks: Tracks = CornerTracks.from_corners(
            np.array(columns[0], dtype=np.int64),
            _number_identities(columns[1]),
            np.array(columns[3], dtype=np.float64),
            np.array(columns[4], dtype=np.float64),
            np.array(columns[2], dtype=np.int64),
        )
        regions = np.array(is_region, dtype=bool)
        ignored = tracks.select(regions)
        ignored = replace(ignored, label=np.full(len(ignored), -1))
        tracks = tracks.select(~regions)
        kept = [places[i] for i in np.flatnonzero(~regions)]
        refuse_repeats(tracks, kept, self.class_names)
        return Annotations(
            tracks, ignored, len(frames), self.class_names, source=str(path)
        )


def _read_frames(path: Path) -> list[tuple[str, dict]]:
    """Return the place and the record of each frame, in their order."""
    document = read_json(path)
    if not isinstance(document, list):
        raise ValueError(
            f'{path}: found a JSON object, expected a list of frames with labels'
        )
    frames: dict[int, tuple[str, dict]] = {}
    for i, frame in enumerate(document):
        where = f'{path}: [{i}]'
        key = _INDEX[1]
        if not isinstance(frame, dict) or _INDEX[1] not in frame:
            key = _INDEX[0]
        index = to_whole(get(frame, key, where, (int, float)), where, key)
        if index in frames:
            raise ValueError(
                f'{where}.{key}: found {index} again (first at {frames[index][0]}), '
                'expected each frame once'
            )
        frames[index] = where, frame
    return [frames[index] for index in sorted(frames)]


def _read_label(label: Any, place: str) -> tuple:
    """Return identity, class, corners and score."""
    category = get(label, 'category', place, str)
    if category not in _NUMBERS:
        raise ValueError(
            f'{place}.category: found {category!r}, expected one of '
            f'{", ".join(_NUMBERS)}'
        )
    box = get(label, 'box2d', place, dict)
    inside = f'{place}.box2d'
    corners = [
        to_number(get(box, key, inside, (int, float)), inside, key) for key in _CORNERS
    ]
    score = 1.0
    if label.get('score') is not None:
        score = to_number(label['score'], place, 'score')
    return get(label, 'id', place, (int, str)), _NUMBERS[category], corners, score


def _is_region(label: dict, place: str) -> bool:
    """Tell whether a label of the ground truth is a region to ignore."""
    if label['category'] in _REGIONS:
        return True
    attributes = label.get('attributes')
    if attributes is None:
        return False
    if not isinstance(attributes, dict):
        raise ValueError(f'{place}.attributes: expected an object')
    return any(bool(attributes.get(key)) for key in ('Crowd', 'crowd'))


def _number_identities(identities: tuple) -> np.ndarray:
    """Turn ids into whole numbers; words are numbered in their order.

    So are numbers of which one is written in two ways, such as 1 and 01.
    """
    words = sorted(set(map(str, identities)))
    try:
        numbers = [int(word) for word in words]
        if len(set(numbers)) < len(words):
            numbers = list(range(len(words)))
        known = np.array(numbers, dtype=np.int64)
    except (ValueError, OverflowError):
        known = np.arange(len(words))
    places = {word: place for place, word in enumerate(words)}
    rows = np.array([places[str(identity)] for identity in identities], dtype=np.int64)
    return known[rows]


def open_truth(path: Path, benchmark: str = '') -> Bdd100kSide | None:
    """Find labels in a folder or zip, or one file."""
    paths = find_json(path)
    return Bdd100kSide(paths) if _is_bdd(list(paths.values())) else None


def open_results(path: Path, truth: Side) -> Bdd100kSide | None:
    """Find results of the same format in a folder or zip, or in its ``data``."""
    if not isinstance(truth, Bdd100kSide):
        return None
    paths = find_files(path, ['*.json', 'data/*.json'], bool, depth=0)
    return Bdd100kSide(paths, is_truth=False) if paths else None


def as_results(texts: TextSide, truth: Side) -> None:
    """Results of this format are no texts."""
    return None


def _is_bdd(paths: list[Path]) -> bool:
    """Tell whether a file is a list of frames."""
    if not paths or first_character(paths[0]) != '[':
        return False
    document = read_json(paths[0])
    return not document or any(
        isinstance(frame, dict) and {'labels', *_INDEX}.intersection(frame)
        for frame in document[:3]
    )
