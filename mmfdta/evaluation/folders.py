# Copyright (c) mmfdta authors.
"""Ground truth and results as folders of MOTChallenge text."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mmfdta.structures.frames import read_seqinfo
from mmfdta.structures.mot_text import read_tracks
from mmfdta.structures.tracks import Sequence


@dataclass(frozen=True)
class SequenceFiles:
    """Where ground truth and result of a sequence are.

    Attributes:
        name: Name of the sequence.
        gt_path: Ground truth text.
        pred_path: Result text.
        num_frames: Length; None takes the last frame of the texts.
        gt_columns: Fewest columns of the ground truth.
    """

    name: str
    gt_path: Path
    pred_path: Path
    num_frames: int | None = None
    gt_columns: int = 6

    def load(self) -> Sequence:
        """Read both files.

        Rows with a width or height <= 0 stay; they count as boxes that overlap
        nothing.

        Raises:
            FileNotFoundError: If a file does not exist.
            ValueError: At a bad line; the message names file and line.
        """
        length = self.num_frames
        gt = read_tracks(self.gt_path, self.gt_columns, unique=True, num_frames=length)
        pred = read_tracks(self.pred_path, unique=True, num_frames=length)
        if length is None:
            length = int(max(gt.frame.max(initial=1), pred.frame.max(initial=1)))
        return Sequence(self.name, length, gt, pred)


def find_sequences(
    gt_dir: str | os.PathLike,
    results_dir: str | os.PathLike,
    names: Iterable[str] | None = None,
    gt_columns: int = 6,
) -> tuple[list[SequenceFiles], list[str]]:
    """Pair ground truth with results.

    Ground truth lies in ``<seq>/gt/gt.txt``, with ``seqinfo.ini`` beside ``gt``
    if there is one, or flat in ``<seq>.txt``; results lie in ``<seq>.txt``.

    Args:
        gt_dir: Folder of the ground truth.
        results_dir: Folder of the results.
        names: Sequences to take; all if None.
        gt_columns: Fewest columns of the ground truth.

    Returns:
        Sequences by name, and the names
        of results without ground truth.

    Raises:
        FileNotFoundError: If a folder, a named sequence or a result is missing.
    """
    truths = _find_truths(Path(gt_dir))
    results = {path.stem: path for path in _list_texts(Path(results_dir), 'results')}
    wanted = sorted(truths) if names is None else list(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in truths]
    if unknown:
        raise FileNotFoundError(
            f'{gt_dir}: no ground truth of {_name_some(unknown)}; it has '
            f'{_name_some(sorted(truths))}'
        )
    missing = [name for name in wanted if name not in results]
    if missing:
        raise FileNotFoundError(
            f'{results_dir}: {len(missing)} of {len(wanted)} sequences have no '
            f'result, expected {_name_some([f"{name}.txt" for name in missing])}; '
            'name the sequences to score with --sequences if the others are not '
            'meant to be'
        )
    files = [
        SequenceFiles(
            name=name,
            gt_path=truths[name],
            pred_path=results[name],
            num_frames=_length_beside(truths[name]),
            gt_columns=gt_columns,
        )
        for name in wanted
    ]
    return files, sorted(set(results) - set(truths))


def read_length(sequence_dir: Path) -> int | None:
    """Find the length of a sequence in its folder, in ``seqinfo.ini`` or ``img1``.

    Returns:
        ``seqLength``, else the number of images, else None.

    Raises:
        ValueError: If ``seqinfo.ini`` holds no length.
    """
    ini = sequence_dir / 'seqinfo.ini'
    if ini.is_file():
        length = read_seqinfo(ini).length
        if length is None:
            raise ValueError(
                f'{ini}: expected seqLength, a number, in section [Sequence]'
            )
        return length
    images = sequence_dir / 'img1'
    if not images.is_dir():
        return None
    return sum(not entry.name.startswith('.') for entry in os.scandir(images)) or None


def _length_beside(gt_path: Path) -> int | None:
    nested = gt_path.name == 'gt.txt' and gt_path.parent.name == 'gt'
    return read_length(gt_path.parents[1]) if nested else None


def _find_truths(folder: Path) -> dict[str, Path]:
    """Find ground truth texts by the names of their sequences."""
    flat = {path.stem: path for path in _list_texts(folder, 'ground truth', True)}
    nested = {
        path.parents[1].name: path
        for path in sorted(folder.glob('*/gt/gt.txt'))
        if not path.parents[1].name.startswith('.')
    }
    if not nested and not flat:
        raise FileNotFoundError(
            f'{folder}: no ground truth in it, expected <sequence>/gt/gt.txt or '
            '<sequence>.txt; is this the folder of the split?'
        )
    return nested or flat


def _list_texts(folder: Path, what: str, may_be_none: bool = False) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder}: no such folder, expected the {what} in it')
    texts = sorted(
        path for path in folder.glob('*.txt') if not path.name.startswith('.')
    )
    if not texts and not may_be_none:
        deeper = sorted({str(path.parent) for path in folder.glob('*/*.txt')})
        hint = f'; did you mean {_name_some(deeper)}?' if deeper else ''
        raise FileNotFoundError(
            f'{folder}: no {what} in it, expected <sequence>.txt{hint}'
        )
    return texts


def _name_some(names: list[str], count: int = 5) -> str:
    more = f' and {len(names) - count} more' if len(names) > count else ''
    return ', '.join(names[:count]) + more
