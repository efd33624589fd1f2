# Copyright (c) mmfdta authors.
"""Ground truth and results as MOTChallenge text, in folders, zips and single files."""

import itertools
import os
import re
import zipfile
from collections.abc import Callable, Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from mmfdta.structures.classes import LABELS_FILE
from mmfdta.structures.frames import SequenceFrames, find_frames, read_seqinfo
from mmfdta.structures.mot_text import read_tracks, scan_mot_text
from mmfdta.structures.tracks import Sequence

from .formats import Annotations
from .numbering import ScannedSequence, number_sequences

GT_FILE = 'gt.txt'
# Folders that say nothing about whose results lie in them.
_NAMELESS = ('data', 'tracker', 'tracks', 'results', 'txt')
_TEXT_SUFFIXES = ('.txt', '.csv', '')
# How many folders deeper than the given one texts are looked for.
_DEPTH = 4


@dataclass(frozen=True)
class SequenceFiles:
    """Where ground truth and result of a sequence are.

    Attributes:
        name: Name of the sequence.
        gt_path: Ground truth text.
        pred_path: Result text.
        frames: What is known of the frames; None takes the last frame of the texts.
        gt_columns: Fewest columns of the ground truth.
    """

    name: str
    gt_path: Path
    pred_path: Path
    frames: SequenceFrames | None = None
    gt_columns: int = 6

    @property
    def num_frames(self) -> int | None:
        """Length, None if it is not known."""
        return None if self.frames is None else self.frames.length

    def scan(self) -> ScannedSequence:
        """Read both files.

        Rows with a width or height <= 0 stay; they count as boxes that overlap
        nothing.

        Raises:
            FileNotFoundError: If a file does not exist.
            ValueError: At a bad line; the message names file and line.
        """
        # One identity may be that of several classes; the evaluation decides.
        gt = scan_mot_text(self.gt_path, self.gt_columns, first_frame=0)
        gt.require(unique=True, by_class=True)
        pred = scan_mot_text(self.pred_path, first_frame=0)
        pred.require(unique=True, by_class=True)
        return ScannedSequence(self.name, gt, pred, self.frames)

    def load(self) -> Sequence:
        """Read both files, and place their rows on frames from 1.

        Raises:
            FileNotFoundError: If a file does not exist.
            ValueError: At a bad line, or a row without a frame; the message names
                file and line.
        """
        (sequence,), _ = number_sequences([self.scan()])
        return sequence


@dataclass(frozen=True)
class TextSide:
    """Ground truth or results as MOTChallenge text, a file for each sequence.

    Attributes:
        folder: Where the sequences lie: a folder, a zip or a single text.
        paths: The texts by the names of their sequences.
        min_columns: Fewest columns of a row.
        lacking: Sequences without a text where others have one.
        is_listed: The texts were named one by one, and no folder.
        any_names: Images may have any names, as frames only count them.
    """

    folder: Path
    paths: dict[str, Path]
    min_columns: int = 6
    lacking: tuple[str, ...] = ()
    is_listed: bool = False
    any_names: bool = False

    title = 'MOTChallenge text'
    benchmark = None
    classes = None
    class_names: ClassVar[dict[int, str]] = {}
    remarks: ClassVar[list[str]] = []

    @property
    def names(self) -> list[str]:
        """Names of the sequences, sorted."""
        return sorted(self.paths)

    @property
    def is_file(self) -> bool:
        """Whether a single text was named, and no folder or zip."""
        return list(self.paths.values()) == [self.folder]

    def frames(self, name: str) -> SequenceFrames | None:
        """Find the frames of a sequence of a ground truth: images or ``seqLength``.

        Raises:
            FileNotFoundError: If ``imDir`` does not exist, but images lie elsewhere.
            ValueError: If ``seqinfo.ini`` cannot be read, or the images not be
                numbered.
        """
        path = self.paths[name]
        inside = [path.parent, *path.parent.parents]
        if self.folder in inside:
            inside = inside[: inside.index(self.folder)]
        else:  # a text alone: <sequence>/gt/gt.txt or <sequence>/gt.txt
            inside = inside[:2]
        known = (
            find_frames(folder, self.any_names) for folder in inside if folder.is_dir()
        )
        frames = next((found for found in known if found is not None), None)
        if frames is None or (frames.expected or 0) <= frames.length:
            return frames
        # Scores need no images: some are enough if they begin with the first one.
        return frames.extended() if frames.is_regular else frames

    def titles(self) -> dict[str, str]:
        """Return the names that ``seqinfo.ini`` gives sequences, by those of folders.

        Raises:
            ValueError: If one cannot be read.
        """
        found = {}
        for name, path in self.paths.items():
            beside = (folder / 'seqinfo.ini' for folder in path.parents[:2])
            ini = next((file for file in beside if file.is_file()), None)
            title = read_seqinfo(ini).name
            if title:
                found[name] = title
        return found

    def read(self, name: str) -> Annotations:
        """Read a sequence strictly.

        Raises:
            FileNotFoundError: If a file does not exist.
            ValueError: At a bad line; the message names file and line.
        """
        frames = self.frames(name)
        length = None if frames is None else frames.length
        # One identity may be that of several classes; the evaluation decides.
        tracks = read_tracks(
            self.paths[name], self.min_columns, True, length, by_class=True
        )
        return Annotations(tracks, num_frames=length)


def find_truths(path: Path, gt_file: str = GT_FILE, columns: int = 6) -> list[TextSide]:
    """Find ground truth texts.

    They lie in ``<sequence>/gt/gt.txt`` or flat in ``<sequence>.txt``, in the folder
    or zip that is named or up to four folders deeper; a sequence's folder, its
    folder ``gt`` and the text itself may be named, too.

    Args:
        path: What is named.
        gt_file: Name of the texts in ``<sequence>/gt``, or a pattern such as
            ``{seq}/annotations/{seq}_half.txt``, from the folder of the sequences.
        columns: Fewest columns of a row.

    Returns:
        One for each folder of sequences.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If a zip cannot be read.
    """
    if not path.exists():
        raise FileNotFoundError(
            f'{path}: no such folder, expected the ground truth in it'
        )
    if not path.is_dir() and not _is_zip(path):
        return [TextSide(path, {_name_of_text(path, gt_file): path}, columns)]
    pattern = _sequence_pattern(gt_file)
    tail = pattern.removeprefix('{seq}/')
    if not path.is_dir() and tail in _members(path):  # the zip of one sequence
        return [TextSide(path / tail, {path.stem: path / tail}, columns)]
    for folder in (path, path.parent):  # of a sequence, or its `gt`
        text = folder / tail
        in_it = folder == path or text.is_relative_to(path)
        if '{seq}' not in tail and in_it and text.is_file():
            return [TextSide(text, {folder.resolve().name: text}, columns)]
    for depth in range(_DEPTH + 1):
        texts = _match(path, '*/' * depth, pattern)
        if texts:
            break
        flat = _glob(path, '*.txt') if depth == 0 and gt_file == GT_FILE else []
        if flat:
            return [TextSide(path, {text.stem: text for text in flat}, columns)]
    else:
        raise FileNotFoundError(_no_truth(path, gt_file, pattern))
    sides = []
    for folder, named in texts.items():
        usual = _match(folder, '', _sequence_pattern(GT_FILE)).get(folder, {})
        lacking = tuple(sorted(set(usual) - set(named)))
        sides.append(TextSide(folder, named, columns, lacking))
    return sides


def find_results(
    paths: SequenceOf[Path],
    truth_names: Iterable[str],
    of_one: bool = False,
    expected: str = '<sequence>.txt',
) -> list[tuple[str, TextSide]]:
    """Find the result texts of one or several trackers.

    A folder or zip holds ``<sequence>.txt``, for one tracker; or such folders, as deep
    as ``<split>/<tracker>/data``. Texts that are named themselves are results of one
    tracker, unless two are of the same sequence.

    Args:
        paths: Folders, zips and texts.
        truth_names: Sequences of the ground truth; deeper folders are those that
            hold results of any.
        of_one: The ground truth is of one sequence, and a text has any name.
        expected: What may lie there, for messages.

    Returns:
        Names of the trackers, which differ, and their results.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: If a zip cannot be read.
    """
    known = {base_name(name) for name in truth_names}
    found: list[tuple[str, TextSide]] = []
    texts: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(
                f'{path}: no such folder, expected the results in it'
            )
        if path.is_dir() or _is_zip(path):
            found += _find_trackers(path, known, of_one, expected)
        elif path.suffix.lower() in _TEXT_SUFFIXES:
            texts.append(path)
        else:
            raise ValueError(
                f'{path}: found a file {path.suffix}, expected results as MOTChallenge '
                'text (.txt), or a folder or zip of such'
            )
    if of_one:
        found += [
            (text.stem, TextSide(text, {text.stem: text}, is_listed=True))
            for text in texts
        ]
    elif texts:
        found += _group_texts(texts)
    names = [name for name, _ in found]
    return [
        (str(side.folder) if names.count(name) > 1 else name, side)
        for name, side in found
    ]


def find_files(
    path: Path,
    patterns: SequenceOf[str],
    fits: Callable[[list[Path]], bool],
    depth: int,
) -> dict[str, Path]:
    """Find files of a format in a folder or zip, no deeper than where the first are.

    Args:
        path: Folder or zip; a file itself is taken if its name fits.
        patterns: Such as ``label_02/*.txt``; the first that finds some is taken.
        fits: Tells whether the files of a folder are of the format.
        depth: How many folders deep they may be.

    Returns:
        Files by the stems of their names.

    Raises:
        ValueError: If several folders hold some.
    """
    if not path.is_dir() and not _is_zip(path):
        named = any(path.match(PurePosixPath(pattern).name) for pattern in patterns)
        return {path.stem: path} if named and fits([path]) else {}
    for pattern, deeper in itertools.product(patterns, range(depth + 1)):
        groups: dict[Path, list[Path]] = {}
        for file in _glob(path, '*/' * deeper + pattern):
            groups.setdefault(file.parent, []).append(file)
        fitting = {folder: files for folder, files in groups.items() if fits(files)}
        if len(fitting) > 1:
            raise ValueError(
                f'{path}: found {pattern} in {len(fitting)} folders, expected one: '
                f'name one of {name_some(sorted(map(str, fitting)))}'
            )
        if fitting:
            (files,) = fitting.values()
            return {file.stem: file for file in files}
    return {}


def find_strays(path: Path, sides: Iterable[TextSide]) -> list[str]:
    """Name folders next to those of trackers that hold no results of known sequences.

    Args:
        path: The folder in which trackers were looked for.
        sides: The results that were found in it.

    Returns:
        Folders with other texts; and, next to several trackers, folders without any.
    """
    found = [side.folder for side in sides if path in side.folder.parents]
    if not found or not path.is_dir():
        return []
    common = Path(os.path.commonpath([folder.parent for folder in found]))
    while common.name.lower() in _NAMELESS and common != path:
        common = common.parent
    names = {folder.relative_to(common).parts[0] for folder in found}
    return [
        str(folder)
        for folder in sorted(common.iterdir())
        if folder.is_dir()
        and folder.name not in (*names, 'seqmaps')
        and not folder.name.startswith('.')
        and (len(found) > 1 or any(_glob(folder, '*/' * d + '*.txt') for d in range(3)))
    ]


def find_sequences(
    gt_dir: str | os.PathLike,
    results_dir: str | os.PathLike,
    names: Iterable[str] | None = None,
    gt_columns: int = 6,
) -> tuple[list[SequenceFiles], list[str]]:
    """Pair ground truth with the results of one tracker.

    Args:
        gt_dir: Ground truth, see :func:`find_truths`.
        results_dir: Results, see :func:`find_results`.
        names: Sequences to take; all if None.
        gt_columns: Fewest columns of the ground truth.

    Returns:
        Sequences by name, and the names
        of results without ground truth.

    Raises:
        FileNotFoundError: If a folder, a named sequence or a result is missing.
        ValueError: If there are several ground truths or trackers.
    """
    from .pairing import pair_sides

    truths = find_truths(Path(gt_dir), columns=gt_columns)
    known = [name for side in truths for name in side.names]
    trackers = find_results([Path(results_dir)], known)
    for path, found in ((gt_dir, truths), (results_dir, trackers)):
        if len(found) > 1:
            sides = [side[1] if isinstance(side, tuple) else side for side in found]
            raise ValueError(
                f'{path}: found {len(sides)} folders of sequences, expected one: name '
                f'{name_some([str(side.folder) for side in sides])}'
            )
    paired = pair_sides(truths[0], trackers[0][1], names)
    return paired.jobs, paired.extra


def find_near(side: TextSide, names: Iterable[str]) -> Path | None:
    """Find another folder of ground truth near one, that of given sequences."""
    known = {base_name(name) for name in names}
    pattern = _sequence_pattern(GT_FILE)
    folder = side.folder.absolute()
    folder = folder.parent if side.is_file else folder
    for root in (folder, *folder.parents[:2]):
        for depth in range(3):
            for found, texts in _match(root, '*/' * depth, pattern).items():
                if _are_known(texts, known):
                    return found
    return None


def base_name(name: str) -> str:
    """Leave away the detector of a MOT17 sequence: ``MOT17-02`` of ``MOT17-02-DPM``."""
    return re.sub(r'-(DPM|FRCNN|SDP)$', '', name)


def name_some(names: SequenceOf[str], count: int = 5) -> str:
    """List the first of some names, and how many more there are."""
    more = f' and {len(names) - count} more' if len(names) > count else ''
    return ', '.join(names[:count]) + more


def _find_trackers(
    path: Path, known: set[str], of_one: bool, expected: str
) -> list[tuple[str, TextSide]]:
    """Find the folders in one folder or zip that hold results of known sequences."""
    groups: dict[Path, dict[str, Path]] = {}
    for depth in range(_DEPTH + 1):
        for text in _glob(path, '*/' * depth + '*.txt'):
            folder = text.parent
            if folder != path and folder.name == text.stem:  # a folder per sequence
                folder = folder.parent
            groups.setdefault(folder, {})[text.stem] = text
        if path in groups and (of_one or _are_known(groups[path], known)):
            break
    fitting = {
        folder: texts
        for folder, texts in groups.items()
        if of_one or _are_known(texts, known)
    }
    if not fitting and groups:
        fitting = groups if path in groups else {}
    if not fitting:
        raise FileNotFoundError(_no_results(path, known, list(groups), expected))
    stems = [_named_parts(folder.relative_to(path).parts) for folder in fitting]
    common = os.path.commonprefix([stem[:-1] for stem in stems])
    return [
        (
            '/'.join(stem[len(common) :]) or _name_of_folder(path),
            TextSide(folder, texts),
        )
        for stem, (folder, texts) in zip(stems, fitting.items(), strict=True)
    ]


def _are_known(texts: Iterable[str], known: set[str]) -> bool:
    """Tell whether any of the texts is of a known sequence."""
    return any(base_name(name) in known for name in texts)


def _group_texts(texts: list[Path]) -> list[tuple[str, TextSide]]:
    """Sort texts into trackers: one, or by folders if sequences occur again."""
    if len({text.stem for text in texts}) == len(texts):
        folders = {text.parent for text in texts}
        name = _name_of_folder(folders.pop()) if len(folders) == 1 else 'results'
        where = texts[0] if len(texts) == 1 else texts[0].parent
        named = {text.stem: text for text in texts}
        return [(name, TextSide(where, named, is_listed=True))]
    groups: dict[Path, dict[str, Path]] = {}
    for text in texts:
        groups.setdefault(text.parent, {})[text.stem] = text
    return [
        (_name_of_folder(folder), TextSide(folder, named, is_listed=True))
        for folder, named in groups.items()
    ]


def _named_parts(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Leave away folders at the end that name no tracker."""
    while parts and parts[-1].lower() in _NAMELESS:
        parts = parts[:-1]
    return parts


def _name_of_folder(path: Path) -> str:
    path = path.resolve()
    if path.is_file():
        return path.stem
    return (_named_parts(path.parts) or path.parts)[-1]


def _name_of_text(path: Path, gt_file: str) -> str:
    """Name the sequence of a ground truth text."""
    path = path.resolve()
    if path.parent.name == 'gt':
        return path.parents[1].name
    return path.parent.name if path.name in (GT_FILE, gt_file) else path.stem


def _sequence_pattern(gt_file: str) -> str:
    """Complete a name to a pattern from the folder of the sequences."""
    gt_file = gt_file.replace('{gt_folder}/', '')  # TrackEval's GT_LOC_FORMAT
    if '{seq}' in gt_file:
        return gt_file
    return '{seq}/' + (gt_file if '/' in gt_file else f'gt/{gt_file}')


def _match(root: Path, prefix: str, pattern: str) -> dict[Path, dict[str, Path]]:
    """Find texts by a pattern with ``{seq}``; by folder, then by name."""
    depth = len(PurePosixPath(pattern).parts)
    first, *rest = (re.escape(part) for part in pattern.split('{seq}'))
    shape = first + r'(?P<seq>[^/]+)' + '(?P=seq)'.join(rest)
    shape = shape.replace(r'\*', '[^/]*')
    found: dict[Path, dict[str, Path]] = {}
    for path in _glob(root, prefix + pattern.replace('{seq}', '*')):
        folder = path.parents[depth - 1]
        matched = re.fullmatch(shape, path.relative_to(folder).as_posix())
        if matched:
            found.setdefault(folder, {})[matched['seq']] = path
    return found


def _glob(root: Path, pattern: str) -> list[Path]:
    """List files of a folder or zip, without those with a dot and ``labels.txt``."""
    if root.is_dir():
        paths = [path for path in root.glob(pattern) if path.is_file()]
    else:
        archive = next(path for path in (root, *root.parents) if path.is_file())
        inside = [archive / name for name in _members(archive)]
        depth = len(PurePosixPath(pattern).parts)
        paths = [
            path
            for path in inside
            if len(path.parts) == len(root.parts) + depth
            and path.is_relative_to(root)
            and path.match(pattern)
        ]
    return sorted(
        path
        for path in paths
        if path.name != LABELS_FILE
        and not any(
            p[0] == '.' or p == '__MACOSX' for p in path.relative_to(root).parts
        )
    )


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == '.zip' or zipfile.is_zipfile(path)


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.replace('\\', '/') for name in archive.namelist()]
    except zipfile.BadZipFile:
        raise ValueError(
            f'{path}: this is no complete zip file; was it cut off?'
        ) from None


def _no_truth(path: Path, gt_file: str, pattern: str) -> str:
    """Say that there is no ground truth, and where some may be."""
    expected = pattern.replace('{seq}', '<sequence>')
    if gt_file == GT_FILE:
        expected += ' or <sequence>.txt'
    message = f'{path}: no ground truth in it, expected {expected}'
    inside = path.resolve()
    for above in inside.parents[:_DEPTH]:
        sequences = _match(above, '', pattern).get(above, {})
        if inside.relative_to(above).parts[0] in sequences:
            return f'{message}; did you mean {above}?'
    texts = {str(text.parent) for text in _glob(path, '*/*.txt')}
    usual = {str(text.parent) for text in _glob(path, '*/gt/*.txt')}
    if usual:
        first = min(usual)
        held = name_some(_names_in(Path(first)))
        return f'{message}; {first} holds {held}: name it with --gt-file'
    if texts:
        return f'{message}; did you mean {name_some(sorted(texts))}?'
    return f'{message}; is this the folder of the split?'


def _names_in(folder: Path) -> list[str]:
    return [path.name for path in _glob(folder, '*.txt')]


def _no_results(path: Path, known: set[str], folders: list[Path], expected: str) -> str:
    """Say that there are no results, and where some may be."""
    message = f'{path}: no results in it, expected {expected}'
    if known and '<sequence>' in expected:
        message += f', such as {expected.replace("<sequence>", min(known))}'
    files = [found for depth in range(3) for found in _glob(path, '*/' * depth + '*')]
    near = [str(f) for f in files if base_name(f.stem) in known or f.suffix == '.zip']
    if near:
        return f'{message}; found {name_some(near)}'
    for above in path.resolve().parents[:2]:
        if _are_known((text.stem for text in _glob(above, '*.txt')), known):
            return f'{message}; did you mean {above}?'
    if folders:
        names = name_some(sorted(str(folder) for folder in folders))
        return f'{message}; the texts in {names} have other names'
    return message
