# Copyright (c) mmfdta authors.
"""MOTChallenge text as the results for a ground truth in another format.

VisDrone and UAVDT have no other; for the rest it is what most trackers write. Frames
count from 1, or from 0 where that is said; column 8 holds the class number of the
ground truth's format.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmfdta.structures.benchmarks import get_benchmark
from mmfdta.structures.mot_text import ScannedText, scan_mot_text

from ..folders import TextSide
from . import Annotations, Side

_MIN_COLUMNS, _CLASS_COLUMNS = 6, 8


@dataclass(frozen=True)
class TextResults:
    """Results, a text for each sequence.

    Attributes:
        paths: Texts by name.
        classes: Classes that are scored one by one, with their numbers; None if
            classes play no part.
        lengths: Frames of each sequence, as far as they are known.
        needs_class: Refuse texts without any class where classes are scored.
        first_frame: Number of the first frame in the texts, 1 or 0.
    """

    paths: dict[str, Path]
    classes: dict[str, int] | None = None
    lengths: Mapping[str, int] = field(default_factory=dict)
    needs_class: bool = True
    first_frame: int = 1

    title: ClassVar[str] = 'MOTChallenge text'
    benchmark: ClassVar[None] = None
    class_names: ClassVar[dict[int, str]] = {}

    @classmethod
    def of(cls, texts: TextSide, truth: Side) -> 'TextResults':
        """Take the texts of a tracker for results of a ground truth."""
        classes = truth.classes
        if classes is None and truth.benchmark is not None:
            classes = get_benchmark(truth.benchmark).class_numbers
        return cls(texts.paths, classes, getattr(truth, 'lengths', {}))

    @property
    def remarks(self) -> list[str]:
        """What the user should know, a line each."""
        return []

    @property
    def names(self) -> list[str]:
        """Names of the sequences, sorted."""
        return sorted(self.paths)

    def scan(self, name: str) -> ScannedText:
        """Read a text strictly; its frames then count from 1.

        Raises:
            FileNotFoundError: If the text is missing.
            ValueError: At a bad line, or if no row has a class and one is needed; the
                message names file and line.
        """
        path, by_class = self.paths[name], self.classes is not None
        classed = self.needs_class and by_class
        columns = _CLASS_COLUMNS if classed else _MIN_COLUMNS
        text = scan_mot_text(path, columns, first_frame=0)
        text.require(True, by_class=by_class)
        frame, first, length = (
            text.tracks.frame,
            self.first_frame,
            self.lengths.get(name, 0),
        )
        for row in np.flatnonzero(frame < first)[:1]:
            raise ValueError(
                f'{path}:{text.line[row]}: found frame 0, expected frames from 1 on; '
                'if results count from 0, add --result-frame-numbers count0'
            )
        beyond = np.flatnonzero(frame >= first + (length or np.inf))
        for row in beyond[:1]:
            raise ValueError(
                f'{path}:{text.line[row]}: found frame {frame[row]}, but the sequence '
                f'has {length} frames, {first} to {first + length - 1} ({len(beyond)} '
                'such rows)'
            )
        placed = replace(text.tracks, frame=frame + 1 - first)
        text = replace(text, tracks=placed)
        if classed and len(text) and (text.tracks.label < 0).all():
            known = (self.classes or {}).items()
            numbers = ', '.join(f'{n} {name}' for name, n in known)
            raise ValueError(
                f'{path}:{text.line[0]}: found no class in column 8 of any row, '
                f'expected {numbers}: classes are scored one by one; if they are of '
                'one class, name it: --unclassed NAME'
            )
        return text

    def read(self, name: str) -> Annotations:
        """Read a sequence, see :meth:`scan`."""
        return Annotations(self.scan(name).tracks)
