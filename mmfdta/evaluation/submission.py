# Copyright (c) mmfdta authors.
"""Checked zip files for the servers that score test sets."""

import codecs
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

from mmfdta.structures.benchmarks import BENCHMARKS
from mmfdta.structures.frames import find_frames
from mmfdta.structures.mot_text import scan_mot_text
from mmfdta.structures.whole_files import open_whole, read_bytes

from .folders import find_results, name_some

_COLUMNS = 10
_DATE = (1980, 1, 1, 0, 0, 0)
_MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Submission:
    """What was packed.

    Attributes:
        path: The zip.
        rows: Rows of each sequence.
        left_out: Files of the results folder that belong to no
            sequence.
        cleaned: Sequences whose text had a byte order mark or blank lines, which the
            official reader refuses; the zip has them without.
    """

    path: Path
    rows: dict[str, int]
    left_out: list[str]
    cleaned: list[str]


def make_submission(
    benchmark: str,
    results_dir: str | os.PathLike,
    data_dir: str | os.PathLike,
    zip_path: str | os.PathLike,
) -> Submission:
    """Check results and pack them as the benchmark's server wants them.

    Rows are packed byte by byte, without a byte order mark and blank lines.

    Args:
        benchmark: ``dancetrack`` (files in a folder ``tracker``) or
            ``sportsmot`` (files in the root of the zip).
        results_dir: Folder or zip with ``<sequence>.txt``, itself or deeper.
        data_dir: The test split: a folder for each sequence
            with images or ``seqinfo.ini``, which give its length.
        zip_path: Where to write; appears when complete.

    Raises:
        FileNotFoundError: If a folder or results are missing.
        ValueError: If anything is wrong in the results; all faulty files are
            named, each with its first bad line.
    """
    folders = {
        name: rules.zip_folder
        for name, rules in BENCHMARKS.items()
        if rules.zip_folder is not None
    }
    if benchmark not in folders:
        raise ValueError(
            f'benchmark: found {benchmark!r}, expected one of {", ".join(folders)}'
        )
    results_dir, zip_path = Path(results_dir), Path(zip_path)
    lengths = _find_lengths(Path(data_dir))
    found = [side for _, side in find_results([results_dir], lengths)]
    if len(found) > 1:
        raise ValueError(
            f'{results_dir}: found results of {len(found)} trackers, expected one: '
            f'name {name_some([str(side.folder) for side in found])}'
        )
    texts = found[0].paths
    missing = [name for name in lengths if name not in texts]
    if missing:
        raise FileNotFoundError(
            f'{results_dir}: {len(missing)} of {len(lengths)} sequences of {data_dir} '
            f'have no result: {", ".join(missing)}'
        )
    rows, problems = {}, []
    for name, length in lengths.items():
        try:
            rows[name] = _check_file(texts[name], length)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        more = len(problems) - _MOST_PROBLEMS
        tail = [f'... and {more} more files'] if more > 0 else []
        raise ValueError('\n'.join(problems[:_MOST_PROBLEMS] + tail))
    read = {name: read_bytes(texts[name]) for name in lengths}
    packed = {name: _clean(data) for name, data in read.items()}
    _pack(zip_path, packed, folders[benchmark])
    folder = found[0].folder
    beside = folder.iterdir() if folder.is_dir() else texts.values()
    left_out = {path.name for path in beside} - {f'{name}.txt' for name in lengths}
    cleaned = [name for name, data in packed.items() if data != read[name]]
    return Submission(zip_path, rows, sorted(left_out), cleaned)


def _find_lengths(data_dir: Path) -> dict[str, int]:
    if not data_dir.is_dir():
        raise FileNotFoundError(f'{data_dir}: no such folder, expected the test split')
    folders = sorted(path for path in data_dir.iterdir() if path.is_dir())
    lengths = {
        path.name: frames.length for path in folders if (frames := find_frames(path))
    }
    if not lengths:
        raise FileNotFoundError(
            f'{data_dir}: no sequences in it, expected <sequence>/img1 or '
            '<sequence>/seqinfo.ini; is this the folder of the test split?'
        )
    return lengths


def _check_file(path: Path, length: int) -> int:
    """Raise at the first fault of a result; number of rows."""
    text = scan_mot_text(path, _COLUMNS)
    text.require(unique=True, num_frames=length)
    tracks = text.tracks
    for what, values, wrong, expected in (
        ('identity', tracks.identity, tracks.identity < 0, '0 or more'),
        ('class', tracks.label, tracks.label > 1, 'at most 1 in column 8'),
    ):
        if wrong.any():
            raise ValueError(
                f'{path}:{text.line[wrong][0]}: found {what} {values[wrong][0]}, '
                f'expected {expected} ({wrong.sum()} such rows); the official '
                'evaluation ends at it'
            )
    degenerate = text.line[text.degenerate]
    if len(degenerate):
        raise ValueError(
            f'{path}:{degenerate[0]}: the width or height is not above 0 '
            f'({len(degenerate)} such rows); such a box can only count as wrong'
        )
    if not len(text):
        raise ValueError(
            f'{path}: the file is empty; a sequence without any track points to a '
            'run that was broken off'
        )
    return len(text)


def _clean(data: bytes) -> bytes:
    """Leave out a byte order mark and blank lines."""
    lines = data.removeprefix(codecs.BOM_UTF8).splitlines(keepends=True)
    return b''.join(line for line in lines if line.strip())


def _pack(zip_path: Path, texts: dict[str, bytes], folder: str) -> None:
    """Write the zip under another name, then rename it; equal input, equal zip."""
    with (
        open_whole(zip_path) as file,
        zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, data in texts.items():
            entry = zipfile.ZipInfo(f'{folder}{name}.txt', _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
