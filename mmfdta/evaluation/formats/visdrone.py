# Copyright (c) mmfdta authors.
"""VisDrone-MOT: ``annotations/<sequence>.txt`` next to ``sequences/<sequence>/*.jpg``.

A row is ``frame,id,left,top,width,height,score,category,truncation,occlusion``, frames
from 1. Results are the same with the confidence as score and -1 in the last two
columns. Categories: 0 ignored region, 1 pedestrian, 2 people, 3 bicycle, 4 car, 5 van,
6 truck, 7 tricycle, 8 awning-tricycle, 9 bus, 10 motor, 11 others. A score of 0 in the
ground truth says that the box is ignored. Source: README.md of the VisDrone2018-MOT
toolkit.

Regions to ignore are the categories 0 and 11 (``dropObjects.m`` of the toolkit) and the
boxes with a score of 0 (its README). They take out ground truth and results alike. The
released ``evaluateTrackB.m`` means to do the same, but cleans the ground truth of its
regions before it hands them to the results, which then keep what lies there.
"""

import itertools
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmfdta.structures.benchmarks import get_benchmark
from mmfdta.structures.frames import list_images
from mmfdta.structures.mot_text import scan_mot_text

from ..folders import TextSide, find_files
from . import Annotations, Side
from .reading import read_rows, refuse_repeats

_CATEGORIES = (
    *('ignored region', 'pedestrian', 'people', 'bicycle', 'car', 'van', 'truck'),
    *('tricycle', 'awning-tricycle', 'bus', 'motor', 'others'),
)
_REGIONS = (0, 11)
_COLUMNS = 10
_FOLDER, _IMAGES = 'annotations', 'sequences'
_LOOKED_AT = 50


@dataclass(frozen=True)
class VisDroneSide:
    """Ground truth, a text for each sequence.

    Attributes:
        paths: Texts by name.
        lengths: Frames of each sequence whose images are there.
    """

    paths: dict[str, Path]
    lengths: dict[str, int] = field(default_factory=dict)

    title: ClassVar[str] = 'VisDrone text'
    benchmark: ClassVar[str] = 'visdrone'
    classes: ClassVar[None] = None
    class_names: ClassVar[dict[int, str]] = dict(enumerate(_CATEGORIES))
    remarks: ClassVar[list[str]] = []

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
        text = scan_mot_text(path, _COLUMNS)
        text.require(num_frames=length)
        label = text.tracks.label
        strange = np.flatnonzero((label < 0) | (label >= len(_CATEGORIES)))
        if len(strange):
            raise ValueError(
                f'{path}:{text.line[strange[0]]}: found category '
                f'{label[strange[0]]} in column 8, expected 0 to '
                f'{len(_CATEGORIES) - 1}'
            )
        is_region = np.isin(label, _REGIONS) | (text.tracks.score == 0)
        ignored = text.tracks.select(is_region)
        ignored = replace(ignored, label=np.full(len(ignored), -1))
        tracks = text.tracks.select(~is_region)
        places = [f'{path}:{line}' for line in text.line[~is_region]]
        refuse_repeats(tracks, places, self.class_names)
        return Annotations(tracks, ignored, length, self.class_names)


def open_truth(path: Path, benchmark: str = '') -> VisDroneSide | None:
    """Find annotations in a folder or zip, in its ``annotations``, or in one text."""
    fits = partial(_is_visdrone, is_said=benchmark == VisDroneSide.benchmark)
    paths = find_files(path, [f'{_FOLDER}/*.txt'], fits, depth=1)
    paths = paths or find_files(path, ['*.txt'], fits, depth=0)
    if not paths:
        return None
    images = next(iter(paths.values())).parent.with_name(_IMAGES)
    lengths = {
        name: len(list_images(images / name))
        for name in paths
        if (images / name).is_dir()
    }
    return VisDroneSide(paths, lengths)


def open_results(path: Path, truth: Side) -> None:
    """Results are MOTChallenge text."""
    return None


def as_results(texts: TextSide, truth: Side) -> None:
    """Results are MOTChallenge text."""
    return None


def _is_visdrone(paths: list[Path], is_said: bool) -> bool:
    """Tell by the last three columns, and by names, folders or regions.

    MOT15 has as many columns, but no categories; ten columns of somebody's own must
    look like VisDrone in another way, too, or be said to be of it.
    """
    rows = [words for path in paths[:3] for words in _head(path)]
    if not any(_is_row(words) for words in rows):
        return False
    benchmark = get_benchmark('visdrone')
    return (
        is_said
        or any(benchmark.has_sequence(path.stem) for path in paths)
        or paths[0].parent.with_name(_IMAGES).is_dir()
        or any(_is_row(words) and words[6:8] == ['0', '0'] for words in rows)
    )


def _is_row(words: list[str]) -> bool:
    """Tell whether truncation and occlusion stand behind a category."""
    return (
        len(words) == _COLUMNS
        and words[7].isdecimal()
        and words[8] in ('0', '1')
        and words[9] in ('0', '1', '2')
    )


def _head(path: Path) -> list[list[str]]:
    """Return the first rows of a text; nothing of what is no text."""
    try:
        return [words for _, words in itertools.islice(read_rows(path), _LOOKED_AT)]
    except ValueError:
        return []
