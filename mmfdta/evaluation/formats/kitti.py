# Copyright (c) mmfdta authors.
"""KITTI tracking: ``label_02/<sequence>.txt``, and results of the same rows.

A row is ``frame id type truncated occluded alpha left top right bottom`` and seven
numbers of the box in space; results have the confidence as an 18th column. Frames
count from 0. ``evaluate_tracking.seqmap*`` says lengths (``0000 empty 000000 000154``:
154 frames). Sources: the readme of KITTI's tracking devkit; TrackEval 1.3.0,
kitti_2d_box.py.

Ground truth of the type DontCare is a region to ignore. Rows that are occluded above
2 or truncated above 0 are not scored.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmfdta.structures.tracks import Tracks

from ..folders import TextSide, find_files
from . import Annotations, CornerTracks, Side
from .reading import read_rows, refuse_repeats, to_number, to_whole

# TrackEval's numbers; who sits is called Person in the tracking labels, and
# Person_sitting in those of objects.
_NUMBERS = {
    'car': 1,
    'van': 2,
    'truck': 3,
    'pedestrian': 4,
    'person': 5,
    'person_sitting': 5,
    'cyclist': 6,
    'tram': 7,
    'misc': 8,
    'dontcare': 9,
}
_NAMES = {number: name for name, number in _NUMBERS.items() if name != 'person'}
_REGION = _NUMBERS['dontcare']
_MIN_COLUMNS, _SCORE_COLUMN = 17, 17
_MAX_OCCLUSION, _MAX_TRUNCATION = 2, 0
_FOLDER = 'label_02'


@dataclass(frozen=True)
class KittiSide:
    """Ground truth or results, a text for each sequence.

    Attributes:
        paths: Texts by name.
        lengths: Frames of each sequence, as far as they are known.
        is_truth: These are labels and no results.
    """

    paths: dict[str, Path]
    lengths: dict[str, int] = field(default_factory=dict)
    is_truth: bool = True

    title: ClassVar[str] = 'KITTI text'
    benchmark: ClassVar[str] = 'kitti'
    classes: ClassVar[None] = None
    class_names: ClassVar[dict[int, str]] = _NAMES
    remarks: ClassVar[list[str]] = []

    @property
    def names(self) -> list[str]:
        """Names of the sequences, sorted."""
        return sorted(self.paths)

    def read(self, name: str) -> Annotations:
        """Read a sequence.

        Rows of a negative identity are no tracks and are passed over, as in the
        official evaluation, unless no other rows are there.

        Raises:
            FileNotFoundError: If the text is missing.
            ValueError: At the first bad row; the message names file and line.
        """
        path, length = self.paths[name], self.lengths.get(name)
        rows: list[tuple[float, ...]] = []
        places = []
        for line, words in read_rows(path):
            rows.append(_read_row(words, f'{path}:{line}', self.is_truth, length))
            places.append(f'{path}:{line}')
        table = np.array(rows, dtype=np.float64).reshape(-1, 8)
        label = table[:, 2].astype(np.int64)
        tracks: Tracks = CornerTracks.from_corners(
            table[:, 0] + 1, table[:, 1], table[:, 4:], table[:, 3], label
        )
        is_region = (label == _REGION) & self.is_truth
        is_track = (tracks.identity >= 0) & (label != _REGION)
        if len(rows) and not (is_track | is_region).any():
            raise ValueError(
                f'{places[0]}: found negative identities only, expected those of '
                'tracks; is this a detection file?'
            )
        ignored = tracks.select(is_region)
        ignored = replace(ignored, label=np.full(len(ignored), -1))
        tracks = tracks.select(is_track)
        kept = [places[i] for i in np.flatnonzero(is_track)]
        refuse_repeats(tracks, kept, self.class_names)
        return Annotations(
            tracks, ignored, length if self.is_truth else None, self.class_names
        )


def _read_row(
    words: list[str], where: str, is_truth: bool, length: int | None
) -> tuple[float, ...]:
    """Return frame from 0, identity, class, score and four corners."""
    if not _MIN_COLUMNS <= len(words) <= _MIN_COLUMNS + 1:
        raise ValueError(
            f'{where}: found {len(words)} columns, expected 17 (frame id type '
            'truncated occluded alpha left top right bottom height width length x y z '
            'rotation), and the score of a result as the 18th'
        )
    frame = to_whole(words[0], where, 'frame')
    if frame < 0 or (length is not None and frame >= length):
        last = f' to {length - 1}' if length is not None else ''
        raise ValueError(f'{where}: found frame {frame}, expected 0{last}')
    label = _NUMBERS.get(words[2].lower())
    if label is None:
        raise ValueError(
            f'{where}: found type {words[2]!r}, expected one of {", ".join(_NUMBERS)}'
        )
    truncated, occluded, *corners = (
        to_number(words[i], where, f'column {i + 1}') for i in (3, 4, 6, 7, 8, 9)
    )
    score = 1.0
    if is_truth:
        # Cut off to whole numbers, as the official reader does.
        flagged = int(occluded) > _MAX_OCCLUSION or int(truncated) > _MAX_TRUNCATION
        score = 0.0 if flagged else 1.0
    elif len(words) > _SCORE_COLUMN:
        score = to_number(words[_SCORE_COLUMN], where, 'the score')
    return frame, to_whole(words[1], where, 'id'), label, score, *corners


def open_truth(path: Path, benchmark: str = '') -> KittiSide | None:
    """Find labels in a folder or zip, in its ``label_02``, or in one text."""
    paths = find_files(path, [f'{_FOLDER}/*.txt'], _is_kitti, depth=1)
    paths = paths or find_files(path, ['*.txt'], _is_kitti, depth=0)
    if not paths:
        return None
    folder = next(iter(paths.values())).parent
    return KittiSide(paths, _read_lengths(folder))


def open_results(path: Path, truth: Side) -> None:
    """Results are texts, see :func:`as_results`."""
    return None


def as_results(texts: TextSide, truth: Side) -> KittiSide | None:
    """Take texts for KITTI's, if they are."""
    if not isinstance(truth, KittiSide) or not _is_kitti(list(texts.paths.values())):
        return None
    return KittiSide(texts.paths, truth.lengths, is_truth=False)


def _is_kitti(paths: list[Path]) -> bool:
    """Tell by the first row that there is: its third column is a word."""
    for path in paths:
        try:
            _, words = next(read_rows(path), (0, []))
        except ValueError:
            return False
        if words:
            return len(words) >= 10 and words[2].replace('_', '').isalpha()
    return False


def _read_lengths(folder: Path) -> dict[str, int]:
    """Read the lengths that seqmaps next to the labels say.

    The devkit has the map of the test split, which has no labels and names its
    sequences alike, next to those of the others.
    """
    lengths: dict[str, int] = {}
    for place in (folder, folder.parent):
        for path in sorted(place.glob('evaluate_tracking.seqmap*')):
            if path.suffix == '.test':
                continue
            for line, words in read_rows(path):
                if len(words) < 4:
                    continue
                length = to_whole(words[3], f'{path}:{line}', 'the number of frames')
                if lengths.setdefault(words[0], length) != length:
                    raise ValueError(
                        f'{path}:{line}: found {length} frames of {words[0]}, but '
                        f'{lengths[words[0]]} in another seqmap of the folder'
                    )
    return lengths
