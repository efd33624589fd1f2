# Copyright (c) mmfdta authors.
"""Reads one sequence from its parts on disk into arrays."""

import configparser
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mmfdta.structures.mot_text import ScannedText, scan_mot_text

from .layouts import list_images
from .structures import Sequence, SequenceAnnotations, SequenceSource

# Far beyond any image; float32 boxes still hold a sixteenth of a pixel there.
LARGEST_PIXEL = 1e6
Number = TypeVar('Number', int, float)


@dataclass(frozen=True)
class RowRule:
    """Which rows training uses, and their labels.

    Attributes:
        category_map (dict[int, int] | None): Column 8 to label; rows of other
            categories are not trained on. None: one class, column 8 unused.
        use_marks (bool): Train only on rows whose column 7 is not 0.
        min_visibility (float): Train only on rows at least this visible.
    """

    category_map: dict[int, int] | None = None
    use_marks: bool = False
    min_visibility: float = 0.0

    def apply(self, annotations: SequenceAnnotations) -> None:
        """Set ``labels`` and ``trainable`` by what the text says.

        Args:
            annotations (SequenceAnnotations): Changed in place; categories that
                are not mapped get label -1.
        """
        categories = annotations.categories
        if self.category_map is None:
            labels = np.zeros(len(categories), dtype=np.int64)
        else:
            labels = np.full(len(categories), -1, dtype=np.int64)
            for category, label in self.category_map.items():
                labels[categories == category] = label
        keep = labels >= 0
        if self.use_marks:
            keep &= annotations.marks != 0
        if self.min_visibility > 0:
            keep &= annotations.visibilities >= self.min_visibility
        annotations.labels, annotations.trainable = labels, keep


@dataclass(frozen=True)
class SequenceInfo:
    """What ``seqinfo.ini`` says; None or 0 where it is silent.

    Attributes:
        length (int | None): ``seqLength``.
        height (int | None): ``imHeight``.
        width (int | None): ``imWidth``.
        frame_rate (float): ``frameRate``.
    """

    length: int | None = None
    height: int | None = None
    width: int | None = None
    frame_rate: float = 0.0


def read_seqinfo(path: str | os.PathLike | None) -> SequenceInfo:
    """Read ``seqinfo.ini``.

    Args:
        path (str | os.PathLike | None): The file; None gives an empty answer.

    Returns:
        SequenceInfo: What the file says.

    Raises:
        ValueError: If the file is not an INI file with a ``[Sequence]`` or
            holds a value that is not a number.
    """
    if path is None:
        return SequenceInfo()
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(os.fspath(path), encoding='utf-8-sig')
        section = parser['Sequence']
    except (configparser.Error, KeyError, UnicodeDecodeError) as error:
        raise ValueError(
            f'{path}: expected an INI file with a section [Sequence], found: {error}'
        ) from None

    def number(key: str, kind: Callable[[str], Number]) -> Number | None:
        value = section.get(key)
        if value is None:
            return None
        try:
            return kind(value)
        except ValueError:
            raise ValueError(
                f'{path}: found {key}={value!r}, expected a number'
            ) from None

    return SequenceInfo(
        length=number('seqLength', int),
        height=number('imHeight', int),
        width=number('imWidth', int),
        frame_rate=number('frameRate', float) or 0.0,
    )


def frame_numbers(image_names: list[str], folder: str) -> np.ndarray:
    """Get the frame number that each image name carries.

    Args:
        image_names (list[str]): Sorted file names.
        folder (str): Their folder, for messages.

    Returns:
        np.ndarray: int64 (L,). Names that are not numbers count from 1.

    Raises:
        ValueError: If the numbers are not contiguous.
    """
    stems = [os.path.splitext(name)[0] for name in image_names]
    if not all(stem.isdecimal() for stem in stems):
        return np.arange(1, len(stems) + 1)
    numbers = np.array([int(stem) for stem in stems])
    wrong = np.flatnonzero(np.diff(numbers) != 1)
    if len(wrong):
        before, after = image_names[wrong[0]], image_names[wrong[0] + 1]
        raise ValueError(
            f'{folder}: found {after} after {before}, expected contiguous frame '
            'numbers of one width. Unpack the archive again, or remove the '
            'stray file.'
        )
    return numbers


def frame_positions(rows: ScannedText, numbers: np.ndarray) -> np.ndarray:
    """Find the 0-based frame of every row.

    Text frames count from 1. Where a row does not fit, the text may count as
    the image names do (a cut-out that starts later): then names decide.

    Args:
        rows (ScannedText): Rows of the text.
        numbers (np.ndarray): int (L,), frame numbers of the images.

    Returns:
        np.ndarray: int64 (R,).

    Raises:
        ValueError: If a row has no image either way; names file and line.
    """
    length = len(numbers)
    for start in (1, int(numbers[0])):
        positions = rows.tracks.frame - start
        outside = (positions < 0) | (positions >= length)
        if not outside.any():
            return positions
    frame = rows.tracks.frame
    first = np.flatnonzero((frame < 1) | (frame > length))[0]
    raise ValueError(
        f'{rows.path}:{rows.line[first]}: found frame {frame[first]}, expected '
        f'frames 1 to {length}, as many as there are images. Are images missing?'
    )


def build_annotations(
    rows: ScannedText, positions: np.ndarray, length: int
) -> SequenceAnnotations:
    """Sort rows by frame.

    Args:
        rows (ScannedText): Rows of the text.
        positions (np.ndarray): int64 (R,), 0-based frame of every row.
        length (int): Number of frames.

    Returns:
        SequenceAnnotations: The boxes by frame, all of label 0.
    """
    order = np.argsort(positions, kind='stable')
    rows, positions = rows.select(order), positions[order]
    return SequenceAnnotations(
        offsets=np.searchsorted(positions, np.arange(length + 1)),
        ids=rows.tracks.identity,
        xywh=rows.tracks.xywh,
        labels=np.zeros(len(rows), dtype=np.int64),
        marks=rows.tracks.score.astype(np.float32),
        categories=rows.tracks.label,
        visibilities=rows.visibility.astype(np.float32),
        trainable=np.ones(len(rows), dtype=bool),
    )


def read_sequence(
    source: SequenceSource, dataset: str = ''
) -> tuple[Sequence, list[str]]:
    """Read a sequence.

    Args:
        source (SequenceSource): Where its parts are.
        dataset (str): Name of the data set.

    Returns:
        tuple[Sequence, list[str]]: The sequence and remarks worth a warning
        (a length that differs from ``seqinfo.ini``, skipped rows).

    Raises:
        FileNotFoundError: If there are no images.
        ValueError: At bad text or non-contiguous frames.
    """
    remarks = []
    names = list_images(source.image_dir)
    numbers = frame_numbers(names, source.image_dir)
    info = read_seqinfo(source.seqinfo_path)
    if info.length is not None and info.length != len(names):
        remarks.append(
            f'{source.seqinfo_path}: seqLength is {info.length}, but '
            f'{source.image_dir} holds {len(names)} images; the images count'
        )
    annotations = None
    if source.gt_path is not None:
        rows = scan_mot_text(source.gt_path)
        rows.require()
        if rows.degenerate.any():
            remarks.append(
                f'{source.gt_path}:{rows.line[rows.degenerate][0]}: skipped '
                f'{rows.degenerate.sum()} rows with width or height <= 0'
            )
            rows = rows.select(~rows.degenerate)
        huge = huge_boxes(rows)
        if len(huge):
            box = rows.tracks.xywh[huge[0]].tolist()
            raise ValueError(
                f'{rows.path}:{rows.line[huge[0]]}: found box {box} (x,y,w,h), '
                f'expected pixels, less than {LARGEST_PIXEL:.0e}'
            )
        positions = frame_positions(rows, numbers)
        remarks.extend(_doubtful_identities(rows))
        annotations = build_annotations(rows, positions, len(names))
    sequence = Sequence(
        name=source.name,
        image_dir=source.image_dir,
        image_names=np.array(names),
        annotations=annotations,
        depth_place=source.depth_dir,
        frame_rate=info.frame_rate,
        dataset=dataset,
    )
    return sequence, remarks


def huge_boxes(rows: ScannedText) -> np.ndarray:
    """Find the rows whose numbers are no pixels of any image.

    Args:
        rows (ScannedText): Rows of a text.

    Returns:
        np.ndarray: int64, their indices.
    """
    return np.flatnonzero((np.abs(rows.tracks.xywh) >= LARGEST_PIXEL).any(axis=1))


def _doubtful_identities(rows: ScannedText) -> list[str]:
    """Reject negative identities, and mention those that repeat in a frame."""
    identities = rows.tracks.identity
    negative = np.flatnonzero(identities < 0)
    if len(negative):
        line, identity = rows.line[negative[0]], identities[negative[0]]
        raise ValueError(
            f'{rows.path}:{line}: found identity {identity}, expected identities '
            'from 0; is this a detection file?'
        )
    repeated = rows.duplicates()
    if not repeated:
        return []
    return [f'{repeated[0]} ({len(repeated)} such rows; training skips these frames)']
