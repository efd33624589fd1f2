# Copyright (c) mmfdta authors.
"""UAVDT: ``<sequence>_gt.txt`` and ``<sequence>_gt_ignore.txt`` in one folder.

Rows of ``_gt.txt`` are MOTChallenge text: ``frame,id,left,top,width,height,score,...``,
frames from 1, and rows with a score of 0 are not scored. ``_gt_whole.txt``, the labels
for detection, has ``out-of-view,occlusion,category`` in the last three columns (1 car,
2 truck, 3 bus) and is read where the other is missing. Rows of ``_gt_ignore.txt`` are
regions. All vehicles count alike; results are MOTChallenge text. Source:
``evaluateTracking.m`` of the UAVDT toolkit (UAV-benchmark-MOTD_v1.0), which takes a
result out if it lies inside a region, none of its sides on the border.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmfdta.structures.benchmarks import get_benchmark
from mmfdta.structures.frames import list_images
from mmfdta.structures.mot_text import scan_mot_text
from mmfdta.structures.tracks import Tracks

from ..folders import TextSide, find_files
from . import Annotations, Side
from .reading import read_rows, refuse_repeats

_TRACKING, _DETECTION, _IGNORED = '_gt', '_gt_whole', '_gt_ignore'
_CATEGORIES = {1: 'car', 2: 'truck', 3: 'bus'}
_IMAGES = 'UAV-benchmark-M'
_MIN_COLUMNS, _WHOLE_COLUMNS, _REGION_COLUMNS = 7, 9, 6


@dataclass(frozen=True)
class UavdtSide:
    """Ground truth, two texts for each sequence.

    Attributes:
        paths: Labels by name.
        suffix: What their names end in.
        lengths: Frames of each sequence whose images are there.
    """

    paths: dict[str, Path]
    suffix: str = _TRACKING
    lengths: dict[str, int] = field(default_factory=dict)

    title: ClassVar[str] = 'UAVDT text'
    benchmark: ClassVar[str] = 'uavdt'
    classes: ClassVar[None] = None

    @property
    def remarks(self) -> list[str]:
        """Say where labels are not those for tracking."""
        if self.suffix == _TRACKING:
            return []
        return [
            f'there is no <sequence>{_TRACKING}.txt; ground truth is read from '
            f'<sequence>{self.suffix}.txt, the labels for detection'
        ]

    @property
    def class_names(self) -> dict[int, str]:
        """Names of the categories, which only labels for detection have."""
        return _CATEGORIES if self.suffix == _DETECTION else {}

    @property
    def names(self) -> list[str]:
        """Names of the sequences, sorted."""
        return sorted(self.paths)

    def read(self, name: str) -> Annotations:
        """Read a sequence.

        Raises:
            FileNotFoundError: If the text is missing.
            ValueError: At the first bad row; the message names file and line.
        """
        path, length = self.paths[name], self.lengths.get(name)
        whole = self.suffix == _DETECTION
        text = scan_mot_text(path, _WHOLE_COLUMNS if whole else _MIN_COLUMNS)
        text.require(num_frames=length)
        tracks = text.tracks
        if whole:
            label = text.visibility
            strange = np.flatnonzero(~np.isin(label, list(_CATEGORIES)))
            if len(strange):
                raise ValueError(
                    f'{path}:{text.line[strange[0]]}: found category '
                    f'{label[strange[0]]:g} in column 9, expected 1 to 3'
                )
            tracks = replace(
                tracks, label=label.astype(np.int64), score=np.ones(len(tracks))
            )
        repeated = replace(tracks, label=np.zeros(len(tracks), dtype=np.int64))
        refuse_repeats(repeated, [f'{path}:{line}' for line in text.line], {0: 'any'})
        regions = self._regions(path, name)
        return Annotations(tracks, regions, length, self.class_names)

    def _regions(self, path: Path, name: str) -> Tracks:
        beside = path.with_name(f'{name}{_IGNORED}.txt')
        try:
            text = scan_mot_text(beside, _REGION_COLUMNS)
        except FileNotFoundError:
            return Tracks.empty()
        text.require(num_frames=self.lengths.get(name))
        return replace(text.tracks, label=np.full(len(text), -1))


def open_truth(path: Path, benchmark: str = '') -> UavdtSide | None:
    """Find labels in a folder or zip, or one text."""
    for suffix in (_TRACKING, _DETECTION):
        fits = partial(_is_uavdt, is_said=benchmark == UavdtSide.benchmark)
        found = find_files(path, [f'*{suffix}.txt'], fits, depth=1)
        if not found:
            continue
        paths = {stem.removesuffix(suffix): text for stem, text in found.items()}
        folder = next(iter(paths.values())).parent
        lengths = {}
        for name in paths:
            images = [above / _IMAGES / name for above in (folder, *folder.parents[:3])]
            here = next((place for place in images if place.is_dir()), None)
            if here is not None:
                lengths[name] = len(list_images(here))
        return UavdtSide(paths, suffix, lengths)
    return None


def open_results(path: Path, truth: Side) -> None:
    """Results are MOTChallenge text."""
    return None


def as_results(texts: TextSide, truth: Side) -> None:
    """Results are MOTChallenge text."""
    return None


def _is_uavdt(paths: list[Path], is_said: bool) -> bool:
    """Tell by the names of sequences or of other texts there, and by columns."""
    benchmark = get_benchmark('uavdt')
    for path in paths:
        name = path.stem.removesuffix(_TRACKING).removesuffix(_DETECTION)
        others = (path.with_name(f'{name}{end}.txt') for end in (_DETECTION, _IGNORED))
        is_named = is_said or benchmark.has_sequence(name)
        if not is_named and not any(other.is_file() for other in others):
            continue
        try:
            _, words = next(read_rows(path), (0, []))
        except ValueError:
            continue
        if len(words) >= _REGION_COLUMNS and words[0].isdecimal():
            return True
    return False
