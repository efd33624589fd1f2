# Copyright (c) mmfdta authors.
"""Strict reading and atomic writing of MOTChallenge text.

A row is ``frame,id,x,y,w,h[,score[,class[,visibility[,...]]]]``: frames count
from 1, boxes are pixels of the original image. Commas, tabs, semicolons, spaces,
colons or bars separate the columns of a file; numbers may be in quotes, and a line may
end in a separator. Data sets, the checker and the evaluation share this reader, so
that a bad line is reported the same way everywhere.
"""

import io
import os
import re
from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .tracks import LARGEST_WHOLE, Tracks
from .whole_files import read_bytes, write_text

_COLUMN_NAMES = ('frame', 'id', 'x', 'y', 'w', 'h', 'column 7')
_KEPT_COLUMNS = 9
# Results and MOT15 have 10 columns, other ground truth 9, detections 7. MOTSynth has a
# position in metres after 9 columns.
_MOST_COLUMNS, _MOTSYNTH_COLUMNS = 10, 12
_NOT_GIVEN = -1.0
# Not `splitlines`, which also breaks lines at form feeds and the like.
_LINE_END = re.compile(r'\r\n|\n|\r')
# In order of preference: commas may be followed by spaces.
_SEPARATORS = {
    ',': 'commas',
    '\t': 'tabs',
    ';': 'semicolons',
    ' ': 'spaces',
    ':': 'colons',
    '|': 'bars',
}
# A cell in quotes without a separator in it.
_QUOTED = re.compile(
    r"""(?<![^\s,;:|])(["'])[ \t]*([^\s"',;:|]*)[ \t]*\1(?![^\s,;:|])"""
)
_DECIMAL_COMMA = re.compile(r'[+-]?\d+,\d+')
_QUOTED_DECIMAL_COMMA = re.compile(r"""["'][ \t]*[+-]?\d+,\d+[ \t]*["']""")
_DIGIT = re.compile(r'\d|nan|inf')
_PADDED = re.compile(r'[+-]?0\d')
_PADDED_CELL = re.compile(r',[ \t]*[+-]?0\d')
# All white space except spaces and line ends.
_OTHER_SPACES = re.compile(r'[\t\v\f\x1c-\x1f\x80-\U0010ffff]')
_USE_POINTS = 'write numbers with a decimal point'


@dataclass(frozen=True)
class TextProblem:
    """A fault in a text file.

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
            Column 7 is the score, 1 if the file has none; column 8 the label, -1 if
            it has none.
        visibility: float64 (R,), column 9, -1 if absent.
        line: int64 (R,), line numbers from 1.
        problems: The lines that are not readable.
        num_columns: Columns that every row has; 0 without rows.
        separator: Separator of the columns; a space also means several spaces.
        no_class: The first row whose column 8 is a fraction, such as a position in
            the world; no row then has a class or a visibility.
    """

    path: str
    tracks: Tracks
    visibility: np.ndarray
    line: np.ndarray
    problems: tuple[TextProblem, ...] = ()
    num_columns: int = 0
    separator: str = ','
    no_class: TextProblem | None = None

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
        repeats = self.tracks.find_repeats(by_class)
        if repeats and (identity == -1).all():
            message = (
                f'the identity is -1 in all {len(identity)} rows: these are '
                'detections, not tracks'
            )
            return [TextProblem(self.path, int(self.line[0]), message)]
        return [
            TextProblem(
                self.path,
                int(self.line[row]),
                f'identity {identity[row]} occurs again in frame {frame[row]} (first '
                f'on line {self.line[first]}); an identity may have one box in a '
                'frame: remove one of the rows',
            )
            for row, first in repeats
        ]

    def require(
        self,
        unique: bool = False,
        num_frames: int | None = None,
        by_class: bool = False,
    ) -> None:
        """Raise an error if the text has faults.

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


@dataclass(frozen=True)
class _Dialect:
    """The separator of a file, and what a row must have."""

    separator: str
    min_columns: int
    first_frame: int

    def split(self, line: str) -> list[str]:
        """Split a line into cells; a separator at its end adds none."""
        cells = [cell.strip() for cell in line.split(self.separator)]
        if self.separator == ' ':
            return [cell for cell in cells if cell]
        return cells[:-1] if cells[-1] == '' else cells

    def describe(self, line: str) -> str | None:
        """Describe what is wrong with a line; None if nothing is."""
        if _QUOTED_DECIMAL_COMMA.search(line):
            return f'found decimal commas in quotes; {_USE_POINTS}'
        if not _DIGIT.search(line):
            found = line.strip()[:40]
            return f'found {found!r}, a line without numbers; remove titles and remarks'
        cells = self.split(line)
        count = len(cells)
        if count < self.min_columns:
            for other, name in _SEPARATORS.items():
                if len(replace(self, separator=other).split(line)) >= self.min_columns:
                    return (
                        f'found columns separated by {name}, expected '
                        f'{_SEPARATORS[self.separator]} as in the lines before'
                    )
            return (
                f'found {count} columns, expected at least {self.min_columns} '
                f'(frame,id,x,y,w,h,...), separated by {_SEPARATORS[self.separator]}'
            )
        has_points = '.' in line
        if count > _MOST_COLUMNS and not (count == _MOTSYNTH_COLUMNS and has_points):
            cause = f'; decimal commas? Then {_USE_POINTS}'
            return (
                f'found {count} columns, expected at most {_MOST_COLUMNS} '
                '(frame,id,x,y,w,h,score,class,visibility and one more)'
                f'{cause if self.separator == "," and not has_points else ""}'
            )
        for i, cell in enumerate(cells):
            fault = self._describe_cell(i, cell)
            if fault is not None:
                return fault
        if self.separator == ',' and not has_points:
            for cell in cells[2:]:
                if _PADDED.match(cell):
                    return (
                        f'found {cell!r} as a number of its own; decimal commas? Then '
                        f'{_USE_POINTS}'
                    )
        return None

    def _describe_cell(self, column: int, cell: str) -> str | None:
        known = column < len(_COLUMN_NAMES)
        name = _COLUMN_NAMES[column] if known else f'column {column + 1}'
        found = f'found {cell!r} for {name}'
        if _DECIMAL_COMMA.fullmatch(cell):
            return f'{found}, a decimal comma; {_USE_POINTS}'
        try:
            # Python also reads `1_0` and the digits of other scripts.
            value = float(cell if cell.isascii() and '_' not in cell else 'text')
        except ValueError:
            return f'{found}, expected a number'
        if known and not np.isfinite(value):
            return f'{found}, expected a finite number'
        if column < 2 and value != int(value):
            return f'{found}, expected a whole number'
        if column < 2 and abs(value) >= LARGEST_WHOLE:
            return f'{found}, expected a smaller number'
        if column == 0 and value < self.first_frame:
            return f'found frame {cell!r}, expected frames from {self.first_frame} on'
        return None

    def parse_fast(self, text: str) -> np.ndarray | None:
        """Parse a clean file at once; None if ``parse_slow`` must read it."""
        if self.separator == ' ' and _OTHER_SPACES.search(text):
            return None
        if self.separator != ' ':
            text = text.removesuffix(self.separator)
            for end in ('\n', '\r\n'):
                text = text.replace(self.separator + end, end)
        try:
            table = np.loadtxt(
                io.StringIO(text),
                delimiter=None if self.separator == ' ' else self.separator,
                comments=None,
                ndmin=2,
                dtype=np.float64,
            )
        except ValueError:
            return None
        width = table.shape[1]
        is_whole = table == np.floor(table)
        is_clean = (
            self.min_columns <= width
            and (
                width <= _MOST_COLUMNS
                or (width == _MOTSYNTH_COLUMNS and not is_whole.all(axis=1).any())
            )
            and np.isfinite(table[:, : len(_COLUMN_NAMES)]).all()
            and is_whole[:, :2].all()
            and (np.abs(table[:, :2]) < LARGEST_WHOLE).all()
            and (table[:, 0] >= self.first_frame).all()
            and not (is_whole.all(axis=1).any() and _PADDED_CELL.search(text))
        )
        return table if is_clean else None

    def parse_slow(
        self,
        path: str,
        lines: Iterable[tuple[int, str]],
        has_points: bool,
        ends: bool,
    ) -> tuple[np.ndarray, np.ndarray, list[TextProblem], int]:
        """Parse line by line; rows may differ in length.

        Args:
            path: The file.
            lines: Their numbers and texts, without blank ones.
            has_points: Whether the file has a decimal point.
            ends: Whether the last line has an end.

        Returns:
            Rows padded with NaN, their line numbers, the problems, and how many
            columns every row has.
        """
        rows: list[list[str]] = []
        numbers, problems = [], []
        for number, line in lines:
            message = self.describe(line)
            if message is None:
                rows.append(self.split(line))
                numbers.append(number)
            else:
                problems.append(TextProblem(path, number, message))
        widths = [len(cells) for cells in rows]
        table = np.full((len(rows), max(widths, default=0)), np.nan)
        for row, cells in zip(table, rows, strict=True):
            row[: len(cells)] = [float(cell) for cell in cells]
        keep = np.ones(len(rows), dtype=bool)
        if self.separator == ',' and not has_points and len(set(widths)) > 1:
            # No score or flag, so it may be a part of the box.
            keep = np.isnan(table[:, 6]) | np.isin(table[:, 6], (-1, 0, 1))
            message = (
                f'found {{}} columns, but other rows have more or fewer, and the file '
                f'has no decimal point; decimal commas? Then {_USE_POINTS}'
            )
            problems += [
                TextProblem(path, numbers[i], message.format(widths[i]))
                for i in np.flatnonzero(~keep)
            ]
        is_last = not ends and len(rows) > 1 and numbers[-1] == number
        if is_last and keep[-1] and widths[-1] < min(widths[:-1]):
            # The last number may be cut, too, such as a width of 40 to 4.
            keep[-1] = False
            message = (
                f'found {widths[-1]} columns and no line end, expected '
                f'{min(widths[:-1])} as in the lines before: the text is broken off; '
                'copy it again, or remove the line'
            )
            problems.append(TextProblem(path, numbers[-1], message))
        problems.sort(key=lambda problem: problem.line)
        return (
            table[keep],
            np.array(numbers, dtype=np.int64)[keep],
            problems,
            min(widths, default=0),
        )


def _find_separator(lines: list[tuple[int, str]], *needs: int) -> str:
    """Find what separates the columns of a file.

    Returns:
        The separator of the first line that can be read; if none can, the one that
        gives the first line the most columns.
    """
    for _, line in lines:
        for separator in _SEPARATORS:
            if separator in line and _Dialect(separator, *needs).describe(line) is None:
                return separator
    return max(
        _SEPARATORS, key=lambda mark: len(_Dialect(mark, *needs).split(lines[0][1]))
    )


def scan_mot_text(
    path: str | os.PathLike, min_columns: int = 6, first_frame: int = 1
) -> ScannedText:
    """Read every readable row of a file and list the lines that are not readable.

    Spaces around numbers, Windows line ends, a byte order mark, blank lines and
    float boxes are accepted. Numbers that look like decimal commas are not.

    Args:
        path: The text file.
        min_columns: Fewest columns a row may have.
        first_frame: Lowest frame number a row may have.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not UTF-8 text.
    """
    path = Path(path)
    text = _read_text(path)
    if '"' in text or "'" in text:
        text = _QUOTED.sub(r'\2', text)
    if not text.strip():
        return ScannedText(
            str(path), Tracks.empty(), np.zeros(0), np.zeros(0, dtype=np.int64)
        )
    first_line = _LINE_END.split(text.lstrip('\r\n'), maxsplit=1)[0]
    needs = min_columns, first_frame
    dialect = _Dialect(_find_separator([(1, first_line)], *needs), *needs)
    table = dialect.parse_fast(text)
    problems: list[TextProblem] = []
    if table is not None and _count_lines(text) == len(table):
        lines = np.arange(1, len(table) + 1)
        num_columns = table.shape[1]
    else:
        numbered = [
            (number, line)
            for number, line in enumerate(_LINE_END.split(text), start=1)
            if line.strip()
        ]
        if table is not None and len(numbered) == len(table):  # blank lines
            lines = np.array([number for number, _ in numbered])
            num_columns = table.shape[1]
        else:
            dialect = _Dialect(_find_separator(numbered, *needs), *needs)
            table, lines, problems, num_columns = dialect.parse_slow(
                str(path), numbered, has_points='.' in text, ends=text[-1] in '\r\n'
            )
    padded = np.full((len(table), _KEPT_COLUMNS), np.nan)
    width = min(table.shape[1], _KEPT_COLUMNS)
    padded[:, :width] = table[:, :width]
    label, visibility, fraction = _read_classes(padded[:, 7], padded[:, 8])
    no_class = None
    if fraction is not None:
        message = (
            f'found {padded[fraction, 7]:g} in column 8, which is no class (a '
            'position, as in MOT15?), so that no row of the text has a class'
        )
        no_class = TextProblem(str(path), int(lines[fraction]), message)
    tracks = Tracks.create(
        frame=padded[:, 0],
        identity=padded[:, 1],
        xywh=padded[:, 2:6].copy(),
        score=np.where(np.isnan(padded[:, 6]), 1.0, padded[:, 6]),
        label=label,
    )
    return ScannedText(
        str(path),
        tracks,
        visibility,
        lines,
        tuple(problems),
        num_columns,
        dialect.separator,
        no_class,
    )


def _count_lines(text: str) -> int:
    return text.count('\n') + (text[-1] != '\n')


def _read_classes(
    label: np.ndarray, visibility: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Separate classes and visibilities from a position in the world, as in MOT15.

    Returns:
        Label and visibility, and the first row with such a position; None if there is
        none.
    """
    with np.errstate(invalid='ignore'):
        is_class = np.abs(label) < LARGEST_WHOLE
        positions = np.flatnonzero(is_class & (label != np.floor(label)))
    if len(positions):
        nothing = np.full(len(label), _NOT_GIVEN)
        return nothing, nothing, int(positions[0])
    return (
        np.where(is_class, label, _NOT_GIVEN),
        np.where(np.isnan(visibility), _NOT_GIVEN, visibility),
        None,
    )


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


def format_tracks(
    tracks: Tracks,
    decimals: int | None = None,
    numbers: SequenceOf[int] | None = None,
) -> str:
    """Format result rows ``frame,id,x,y,w,h,score,class,-1,-1``, one per line.

    Args:
        tracks: The rows.
        decimals: Digits after the point; None writes every float in full, so
            that reading gives the same numbers.
        numbers: Column 8 for each label. Rows whose label is -1 get -1, and all rows
            if this is None, as in benchmarks of one class.

    Raises:
        ValueError: If a box or score is not finite, or a label has no number.
    """
    if not (np.isfinite(tracks.xywh).all() and np.isfinite(tracks.score).all()):
        raise ValueError('boxes and scores must be finite numbers')
    classes = np.full(len(tracks), -1)
    if numbers is not None:
        strange = (tracks.label < -1) | (tracks.label >= len(numbers))
        if strange.any():
            raise ValueError(
                f'found label {tracks.label[strange][0]}, but the class numbers end '
                f'at label {len(numbers) - 1}'
            )
        classes = np.array([*numbers, -1], dtype=np.int64)[tracks.label]
    columns = tracks.frame, tracks.identity, tracks.xywh, tracks.score, classes
    return ''.join(
        f'{int(frame)},{int(identity)},'
        + ''.join(f'{_format_number(value, decimals)},' for value in (*box, score))
        + f'{number},-1,-1\n'
        for frame, identity, box, score, number in zip(*columns, strict=True)
    )


def write_tracks(
    path: str | os.PathLike,
    tracks: Tracks,
    decimals: int | None = None,
    numbers: SequenceOf[int] | None = None,
) -> None:
    """Write result rows as :func:`format_tracks` formats them.

    The file appears only when it is complete. Missing folders are made; no rows give
    an empty file.

    Raises:
        ValueError: If a number is not finite or a label has no class number.
        OSError: If the file cannot be written.
    """
    try:
        text = format_tracks(tracks, decimals, numbers)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None
    write_text(path, text)
