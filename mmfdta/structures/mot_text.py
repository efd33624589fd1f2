# Copyright (c) mmfdta authors.
"""Strict reading and atomic writing of MOTChallenge text rows.

A row is ``frame,id,x,y,w,h[,mark[,class[,visibility[,...]]]]``: frames count
from 1, boxes are pixels of the original image. The reader is shared by data
sets, the checker and the evaluation, so that a bad line is named the same way
everywhere.
"""

import io
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .whole_files import open_whole

# Digits after the point in tracks that a test or a tracked video writes.
BOX_DECIMALS, SCORE_DECIMALS = 3, 6
_COLUMN_NAMES = ('frame', 'id', 'x', 'y', 'w', 'h', 'column 7')
_KEPT_COLUMNS = 10
_NOT_GIVEN = -1.0
# Up to here a float64 holds every whole number.
_LARGEST_WHOLE = 2**53
# Not `splitlines`, which also breaks lines at form feeds and the like.
_LINE_END = re.compile(r'\r\n|\n|\r')


@dataclass(frozen=True)
class TextProblem:
    """One thing that is wrong in a text file.

    Attributes:
        path (str): The file.
        line (int): Line number, from 1.
        message (str): What was found and what was expected.
    """

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: {self.message}'


@dataclass
class MOTRows:
    """The rows of one MOTChallenge text file, in the order of the file.

    Attributes:
        path (str): The file the rows come from.
        frame (np.ndarray): int64 (R,), 1-based frame numbers.
        identity (np.ndarray): int64 (R,); identity 0 is an identity.
        xywh (np.ndarray): float64 (R, 4), left, top, width, height in pixels.
        mark (np.ndarray): float64 (R,), column 7 (confidence of a result, the
            "consider" mark of a ground truth), 1 where the file has no such
            column.
        category (np.ndarray): float64 (R,), column 8, -1 where absent.
        visibility (np.ndarray): float64 (R,), column 9, -1 where absent.
        extra (np.ndarray): float64 (R,), column 10, -1 where absent.
        line (np.ndarray): int64 (R,), line numbers from 1.
        degenerate_line (np.ndarray): int64 (D,), lines that were skipped
            because their width or height is not positive.
    """

    path: str
    frame: np.ndarray
    identity: np.ndarray
    xywh: np.ndarray
    mark: np.ndarray
    category: np.ndarray
    visibility: np.ndarray
    extra: np.ndarray
    line: np.ndarray
    degenerate_line: np.ndarray = field(
        default_factory=lambda: np.zeros(0, dtype=np.int64)
    )

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def num_degenerate(self) -> int:
        """int: Number of rows skipped for a width or height <= 0."""
        return len(self.degenerate_line)

    def duplicates(self) -> list[TextProblem]:
        """List the rows that repeat an identity within a frame.

        Returns:
            list[TextProblem]: One entry for each repeated row, in file order.
        """
        if not len(self):
            return []
        order = np.lexsort((self.line, self.identity, self.frame))
        frame, identity = self.frame[order], self.identity[order]
        repeats = (frame[1:] == frame[:-1]) & (identity[1:] == identity[:-1])
        if not repeats.any():
            return []
        starts = np.concatenate([[True], ~repeats])
        first = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
        again = np.flatnonzero(np.concatenate([[False], repeats]))
        return sorted(
            (
                TextProblem(
                    self.path,
                    int(self.line[order[i]]),
                    f'identity {self.identity[order[i]]} occurs again in frame '
                    f'{self.frame[order[i]]} (first on line {self.line[first[i]]}); '
                    'an identity may have one box in a frame: remove one of the rows',
                )
                for i in again
            ),
            key=lambda problem: problem.line,
        )

    def select(self, keep: np.ndarray) -> 'MOTRows':
        """Return the rows chosen by a boolean mask or index array.

        Args:
            keep (np.ndarray): bool (R,) or int (K,).

        Returns:
            MOTRows: The chosen rows; the skipped lines stay listed.
        """
        return MOTRows(
            path=self.path,
            frame=self.frame[keep],
            identity=self.identity[keep],
            xywh=self.xywh[keep],
            mark=self.mark[keep],
            category=self.category[keep],
            visibility=self.visibility[keep],
            extra=self.extra[keep],
            line=self.line[keep],
            degenerate_line=self.degenerate_line,
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
        data = path.read_bytes()
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
    if table.shape[1] < min_columns:
        return None
    head = table[:, : len(_COLUMN_NAMES)]
    whole = table[:, :2]
    if not np.isfinite(head).all() or (whole != np.floor(whole)).any():
        return None
    if (np.abs(whole) >= _LARGEST_WHOLE).any():
        return None
    return None if (table[:, 0] < 1).any() else table


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


def _build_rows(path: str, table: np.ndarray, lines: np.ndarray) -> MOTRows:
    padded = np.full((len(table), _KEPT_COLUMNS), np.nan)
    width = min(table.shape[1], _KEPT_COLUMNS)
    padded[:, :width] = table[:, :width]
    mark = np.where(np.isnan(padded[:, 6]), 1.0, padded[:, 6])
    rest = np.where(np.isnan(padded[:, 7:]), _NOT_GIVEN, padded[:, 7:])
    positive = (padded[:, 4] > 0) & (padded[:, 5] > 0)
    rows = MOTRows(
        path=path,
        frame=padded[:, 0].astype(np.int64),
        identity=padded[:, 1].astype(np.int64),
        xywh=padded[:, 2:6].copy(),
        mark=mark,
        category=rest[:, 0],
        visibility=rest[:, 1],
        extra=rest[:, 2],
        line=lines,
        degenerate_line=lines[~positive],
    )
    return rows if positive.all() else rows.select(positive)


def scan_mot_rows(
    path: str | os.PathLike, min_columns: int = 6
) -> tuple[MOTRows, list[TextProblem]]:
    """Read every readable row of a file and list the lines that are not.

    Args:
        path (str | os.PathLike): The text file.
        min_columns (int): Fewest columns a row may have.

    Returns:
        tuple[MOTRows, list[TextProblem]]: The rows and the bad lines. Rows
        with a width or height <= 0 are in ``MOTRows.degenerate_line``.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not UTF-8 text.
    """
    path = Path(path)
    text = _read_text(path)
    if not text.strip():
        empty = np.zeros((0, _KEPT_COLUMNS))
        return _build_rows(str(path), empty, np.zeros(0, dtype=np.int64)), []
    table = _parse_fast(text, min_columns)
    if table is None:
        table, lines, problems = _parse_slow(str(path), text, min_columns)
        return _build_rows(str(path), table, lines), problems
    if text.count('\n') - (text[-1] == '\n') + 1 == len(table):
        lines = np.arange(1, len(table) + 1)
    else:  # blank lines were skipped
        lines = np.array(
            [n for n, line in enumerate(_LINE_END.split(text), 1) if line.strip()]
        )
    return _build_rows(str(path), table, lines), []


def read_mot_rows(
    path: str | os.PathLike, min_columns: int = 6, unique: bool = False
) -> MOTRows:
    """Read a MOTChallenge text file strictly.

    Spaces after commas, Windows line ends, a byte order mark, blank lines and
    float boxes are accepted. Rows with a width or height <= 0 are skipped and
    listed in ``MOTRows.degenerate_line``.

    Args:
        path (str | os.PathLike): The text file.
        min_columns (int): Fewest columns a row may have.
        unique (bool): Raise if an identity occurs twice in a frame.

    Returns:
        MOTRows: The rows in the order of the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: At the first bad line; the message names file and line.
    """
    rows, problems = scan_mot_rows(path, min_columns)
    if not problems and unique:
        problems = rows.duplicates()
    if problems:
        more = f' ({len(problems) - 1} more bad lines)' if len(problems) > 1 else ''
        raise ValueError(f'{problems[0]}{more}')
    return rows


def _format_number(value: float, decimals: int | None) -> str:
    if decimals is None:
        text = repr(float(value))
        return text[:-2] if text.endswith('.0') else text
    text = f'{value:.{decimals}f}'
    return text.rstrip('0').rstrip('.') if '.' in text else text


def format_mot_rows(
    frame: np.ndarray,
    identity: np.ndarray,
    xywh: np.ndarray,
    score: np.ndarray | None = None,
    decimals: int | None = None,
) -> str:
    """Format result rows ``frame,id,x,y,w,h,conf,-1,-1,-1``.

    Args:
        frame (np.ndarray): int (R,), frames from 1.
        identity (np.ndarray): int (R,).
        xywh (np.ndarray): float (R, 4), pixels of the original image.
        score (np.ndarray | None): float (R,), 1 if None.
        decimals (int | None): Digits after the point; None writes every
            float in full, so that reading gives the same numbers.

    Returns:
        str: One line a row, each with its line end.

    Raises:
        ValueError: If lengths differ or a number is not finite.
    """
    xywh = np.asarray(xywh, dtype=np.float64).reshape(-1, 4)
    score = np.ones(len(xywh)) if score is None else np.asarray(score, np.float64)
    if not len(frame) == len(identity) == len(xywh) == len(score):
        raise ValueError(
            f'found {len(frame)} frames, {len(identity)} identities, '
            f'{len(xywh)} boxes and {len(score)} scores, expected equal numbers'
        )
    if not (np.isfinite(xywh).all() and np.isfinite(score).all()):
        raise ValueError('boxes and scores must be finite numbers')
    return ''.join(
        f'{int(f)},{int(i)},'
        + ''.join(f'{_format_number(v, decimals)},' for v in (*box, s))
        + '-1,-1,-1\n'
        for f, i, box, s in zip(frame, identity, xywh, score, strict=True)
    )


def write_mot_rows(
    path: str | os.PathLike,
    frame: np.ndarray,
    identity: np.ndarray,
    xywh: np.ndarray,
    score: np.ndarray | None = None,
    decimals: int | None = None,
) -> None:
    """Write result rows atomically, as :func:`format_mot_rows` formats them.

    The text appears under its name only when it is complete. Directories are
    made as needed; no rows give an empty file.

    Args:
        path (str | os.PathLike): Where to write; the rest is described there.
        frame (np.ndarray): int (R,).
        identity (np.ndarray): int (R,).
        xywh (np.ndarray): float (R, 4).
        score (np.ndarray | None): float (R,).
        decimals (int | None): Digits.

    Raises:
        ValueError: If lengths differ or a number is not finite.
    """
    try:
        text = format_mot_rows(frame, identity, xywh, score, decimals)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None
    write_text_atomic(path, text)


def write_text_atomic(path: str | os.PathLike, text: str) -> None:
    """Write a text file under a temporary name, then rename it.

    Args:
        path (str | os.PathLike): Where to write; directories are made.
        text (str): The whole content.
    """
    with open_whole(path) as file:
        file.write(text.encode('utf-8'))
