# Copyright (c) mmfdta authors.
"""Strict reading and atomic writing of MOTChallenge text.

A row is ``frame,id,x,y,w,h[,score[,class[,visibility[,...]]]]``: frames count
from 1, boxes are pixels of the original image. The reader is shared by data
sets, the checker and the evaluation, so that a bad line is named the same way
everywhere.
"""

import io
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .tracks import Tracks
from .whole_files import read_bytes, write_text

_COLUMN_NAMES = ('frame', 'id', 'x', 'y', 'w', 'h', 'column 7')
_KEPT_COLUMNS = 9
_NOT_GIVEN = -1.0
# Up to here a float64 holds every whole number.
_LARGEST_WHOLE = 2**53
# Not `splitlines`, which also breaks lines at form feeds and the like.
_LINE_END = re.compile(r'\r\n|\n|\r')


@dataclass(frozen=True)
class TextProblem:
    """One thing that is wrong in a text file.

    Attributes:
        path: The file.
        line: Line number, from 1.
        message: What was found and what was expected.
    """

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: {self.message}'


@dataclass(frozen=True)
class ScannedText:
    """A MOTChallenge text file: its readable rows in their order, and its faults.

    Attributes:
        path: The file.
        tracks: The rows, R of them, also those with a width or height <= 0.
            Column 7 is the score, 1 where the file has none; column 8 the
            label, -1 where it has none.
        visibility: float64 (R,), column 9, -1 where absent.
        line: int64 (R,), line numbers from 1.
        problems: The lines that are not readable.
    """

    path: str
    tracks: Tracks
    visibility: np.ndarray
    line: np.ndarray
    problems: tuple[TextProblem, ...] = ()

    def __len__(self) -> int:
        return len(self.tracks)

    @property
    def degenerate(self) -> np.ndarray:
        """Bool (R,), rows whose width or height is not above 0."""
        width, height = self.tracks.xywh[:, 2], self.tracks.xywh[:, 3]
        return (width <= 0) | (height <= 0)

    def select(self, keep: np.ndarray) -> 'ScannedText':
        """Return the rows chosen by a mask, bool (R,), or indices, int (K,)."""
        return replace(
            self,
            tracks=self.tracks.select(keep),
            visibility=self.visibility[keep],
            line=self.line[keep],
        )

    def duplicates(self, by_class: bool = False) -> list[TextProblem]:
        """List the rows that repeat an identity within a frame, in file order.

        Args:
            by_class: The same identity of two classes is two objects.
        """
        frame, identity = self.tracks.frame, self.tracks.identity
        return [
            TextProblem(
                self.path,
                int(self.line[row]),
                f'identity {identity[row]} occurs again in frame {frame[row]} (first '
                f'on line {self.line[first]}); an identity may have one box in a '
                'frame: remove one of the rows',
            )
            for row, first in self.tracks.find_repeats(by_class)
        ]

    def require(
        self,
        unique: bool = False,
        num_frames: int | None = None,
        by_class: bool = False,
    ) -> None:
        """Refuse a text with faults.

        Args:
            unique: Refuse an identity that occurs twice in a frame.
            num_frames: Length of the sequence, if known; refuse frames beyond it.
            by_class: The same identity of two classes is two objects.

        Raises:
            ValueError: At the first fault; the message names file and line.
        """
        problems = self.problems or (self.duplicates(by_class) if unique else ())
        if problems:
            more = f' ({len(problems) - 1} more bad lines)' if len(problems) > 1 else ''
            raise ValueError(f'{problems[0]}{more}')
        frame = self.tracks.frame
        beyond = np.flatnonzero(frame > (num_frames or np.inf))
        if len(beyond):
            raise ValueError(
                f'{self.path}:{self.line[beyond[0]]}: found frame {frame[beyond[0]]}, '
                f'but the sequence has {num_frames} frames ({len(beyond)} such rows)'
            )


def _describe_row(cells: list[str], min_columns: int) -> str | None:
    """Say what is wrong with the cells of a line, None if nothing is."""
    if len(cells) < min_columns:
        return (
            f'found {len(cells)} columns, expected at least {min_columns} '
            '(frame,id,x,y,w,h,...), separated by commas'
        )
    for i, cell in enumerate(cells):
        name = _COLUMN_NAMES[i] if i < len(_COLUMN_NAMES) else f'column {i + 1}'
        try:
            # Python also reads `1_0` and the digits of other scripts.
            value = float(cell if cell.isascii() and '_' not in cell else 'text')
        except ValueError:
            return f'found {cell.strip()!r} for {name}, expected a number'
        if i < len(_COLUMN_NAMES) and not np.isfinite(value):
            return f'found {cell.strip()!r} for {name}, expected a finite number'
        if i < 2 and value != int(value):
            return f'found {cell.strip()!r} for {name}, expected a whole number'
        if i < 2 and abs(value) >= _LARGEST_WHOLE:
            return f'found {cell.strip()!r} for {name}, expected a smaller number'
        if i == 0 and value < 1:
            return f'found frame {cell.strip()!r}, expected frames counted from 1'
    return None


def _read_text(path: Path) -> str:
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f'{path}: no such file; expected MOTChallenge text '
            '(frame,id,x,y,w,h,...). Check the data root and the split.'
        ) from None
    try:
        return data.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b'\n') + 1
        raise ValueError(
            f'{path}:{line}: found bytes that are not UTF-8 text, expected '
            'MOTChallenge text; is this really the annotation file?'
        ) from None


def _parse_fast(text: str, min_columns: int) -> np.ndarray | None:
    """Parse a clean file at once; None sends the caller to the slow path."""
    try:
        table = np.loadtxt(
            io.StringIO(text), delimiter=',', comments=None, ndmin=2, dtype=np.float64
        )
    except ValueError:
        return None
    whole = table[:, :2]
    is_clean = (
        table.shape[1] >= min_columns
        and np.isfinite(table[:, : len(_COLUMN_NAMES)]).all()
        and (whole == np.floor(whole)).all()
        and (np.abs(whole) < _LARGEST_WHOLE).all()
        and (table[:, 0] >= 1).all()
    )
    return table if is_clean else None


def _parse_slow(
    path: str, text: str, min_columns: int
) -> tuple[np.ndarray, np.ndarray, list[TextProblem]]:
    """Parse line by line; rows may differ in length."""
    rows, lines, problems = [], [], []
    for number, line in enumerate(_LINE_END.split(text), start=1):
        if not line.strip():
            continue
        cells = line.split(',')
        message = _describe_row(cells, min_columns)
        if message is not None:
            problems.append(TextProblem(path, number, message))
            continue
        values = [float(cell) for cell in cells[:_KEPT_COLUMNS]]
        rows.append(values + [np.nan] * (_KEPT_COLUMNS - len(values)))
        lines.append(number)
    table = np.array(rows, dtype=np.float64).reshape(-1, _KEPT_COLUMNS)
    return table, np.array(lines, dtype=np.int64), problems


def scan_mot_text(path: str | os.PathLike, min_columns: int = 6) -> ScannedText:
    """Read every readable row of a file and list the lines that are not.

    Spaces after commas, Windows line ends, a byte order mark, blank lines and
    float boxes are accepted.

    Args:
        path: The text file.
        min_columns: Fewest columns a row may have.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not UTF-8 text.
    """
    path = Path(path)
    text = _read_text(path)
    table, lines = np.zeros((0, min_columns)), np.zeros(0, dtype=np.int64)
    problems: list[TextProblem] = []
    if text.strip():
        fast = _parse_fast(text, min_columns)
        if fast is None:
            table, lines, problems = _parse_slow(str(path), text, min_columns)
        elif text.count('\n') - (text[-1] == '\n') + 1 == len(fast):
            table, lines = fast, np.arange(1, len(fast) + 1)
        else:  # blank lines were skipped
            numbered = enumerate(_LINE_END.split(text), 1)
            table, lines = fast, np.array([n for n, line in numbered if line.strip()])
    padded = np.full((len(table), _KEPT_COLUMNS), np.nan)
    width = min(table.shape[1], _KEPT_COLUMNS)
    padded[:, :width] = table[:, :width]
    rest = np.where(np.isnan(padded[:, 7:]), _NOT_GIVEN, padded[:, 7:])
    rest[np.abs(rest[:, 0]) >= _LARGEST_WHOLE, 0] = _NOT_GIVEN  # no class at all
    tracks = Tracks.create(
        frame=padded[:, 0],
        identity=padded[:, 1],
        xywh=padded[:, 2:6].copy(),
        score=np.where(np.isnan(padded[:, 6]), 1.0, padded[:, 6]),
        label=rest[:, 0],
    )
    return ScannedText(str(path), tracks, rest[:, 1], lines, tuple(problems))


def read_tracks(
    path: str | os.PathLike,
    min_columns: int = 6,
    unique: bool = False,
    num_frames: int | None = None,
    by_class: bool = False,
) -> Tracks:
    """Read a MOTChallenge text file strictly, in the order of its lines.

    Args:
        path: The text file.
        min_columns: Fewest columns a row may have.
        unique: Raise if an identity occurs twice in a frame.
        num_frames: Length of the sequence, if known; raise at a frame beyond it.
        by_class: The same identity of two classes is two objects.

    Returns:
        All rows, also those with a width or height <= 0.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: At the first bad line; the message names file and line.
    """
    text = scan_mot_text(path, min_columns)
    text.require(unique, num_frames, by_class)
    return text.tracks


def _format_number(value: float, decimals: int | None) -> str:
    if decimals is None:
        text = repr(float(value))
        return text[:-2] if text.endswith('.0') else text
    text = f'{value:.{decimals}f}'
    return text.rstrip('0').rstrip('.') if '.' in text else text


def format_tracks(tracks: Tracks, decimals: int | None = None) -> str:
    """Format result rows ``frame,id,x,y,w,h,score,-1,-1,-1``, a line for each.

    Args:
        tracks: The rows.
        decimals: Digits after the point; None writes every float in full, so
            that reading gives the same numbers.

    Raises:
        ValueError: If a number is not finite.
    """
    if not (np.isfinite(tracks.xywh).all() and np.isfinite(tracks.score).all()):
        raise ValueError('boxes and scores must be finite numbers')
    columns = tracks.frame, tracks.identity, tracks.xywh, tracks.score
    return ''.join(
        f'{int(frame)},{int(identity)},'
        + ''.join(f'{_format_number(value, decimals)},' for value in (*box, score))
        + '-1,-1,-1\n'
        for frame, identity, box, score in zip(*columns, strict=True)
    )


def write_tracks(
    path: str | os.PathLike, tracks: Tracks, decimals: int | None = None
) -> None:
    """Write result rows as :func:`format_tracks` formats them.

    The text appears under its name only when it is complete. Folders are made
    as needed; no rows give an empty file.

    Raises:
        ValueError: If a number is not finite.
        OSError: If the file cannot be written.
    """
    try:
        text = format_tracks(tracks, decimals)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None
    write_text(path, text)
