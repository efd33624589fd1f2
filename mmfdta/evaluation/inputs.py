# Copyright (c) mmfdta authors.
"""What is scored: from what a command names to sequences with both sides."""

import contextlib
import functools
import zipfile
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from mmfdta.structures.classes import labels_beside
from mmfdta.structures.mot_text import read_tracks
from mmfdta.structures.tracks import Sequence, Tracks

from .doubts import refuse_doubts
from .folders import (
    GT_FILE,
    SequenceFiles,
    TextSide,
    base_name,
    find_results,
    find_strays,
    find_truths,
    name_some,
)
from .formats import (
    LoadedSide,
    Side,
    as_results,
    as_unpaired,
    open_results,
    open_truth,
    open_unpaired,
)
from .formats.text_results import TextResults
from .numbering import number_sequences
from .pairing import pair_sides, read_seqmap
from .parts import (
    Part,
    cut_sequences,
    recognise_half,
    refuse_other_half,
)
from .plausibility import check_sides
from .scores import load_all


@dataclass(frozen=True)
class Inputs:
    """What a command names.

    Attributes:
        gt: Ground truth: a folder, a zip or a text.
        results: Results of one or several trackers: folders, zips, texts.
        sequences: Names or patterns of the sequences to take; None takes all.
        seqmap: A file that names them instead.
        gt_file: Name of the texts in ``<sequence>/gt``, or a pattern, see
            :func:`~mmfdta.evaluation.folders.find_truths`.
        gt_columns: Fewest columns of ground truth text.
        part: The part of each sequence that is scored; None takes all, and refuses
            results that seem to be of a part.
        frame_numbers: How frames of ground truth text are read, see
            :func:`~mmfdta.evaluation.numbering.number_sequences`.
        result_frame_numbers: How those of results are read.
        keep_boxes: See :func:`~mmfdta.evaluation.plausibility.check_sides`.
        benchmark: The benchmark that the data are said to be of, if any.
        unclassed: The class that results without one are said to be of, if any.
    """

    gt: Path
    results: SequenceOf[Path]
    sequences: SequenceOf[str] | None = None
    seqmap: Path | None = None
    gt_file: str = GT_FILE
    gt_columns: int = 6
    part: Part | None = None
    frame_numbers: str = 'auto'
    result_frame_numbers: str = 'auto'
    keep_boxes: bool = False
    benchmark: str = ''
    unclassed: str | None = None


@dataclass(frozen=True)
class Tracker:
    """Results of one tracker, and the ground truth they are scored with.

    Attributes:
        name: Name of the tracker.
        truth: The ground truth.
        results: What the tracker wrote.
        inputs: What was named.
        like: The results that ``results`` are made of, under the same names: they
            decide how frames are read, and nothing is refused for frames that
            ``results`` leave out. None: ``results`` themselves.
    """

    name: str
    truth: Side
    results: Side
    inputs: Inputs
    like: Side | None = None

    def load(self, processes: int = 1) -> tuple[list[Sequence], list[str]]:
        """Read and check what is scored.

        Args:
            processes: Number of processes that read.

        Returns:
            The sequences, and remarks for the user, a line each.

        Raises:
            OSError: If a sequence, a result or a file is missing.
            ValueError: If a file has a fault, or both sides do not go together.
        """
        wanted, asked_by = self.inputs.sequences, '--sequences'
        remarks: list[str] = []
        if self.inputs.seqmap is not None:
            asked_by = f'--seqmap {self.inputs.seqmap}'
            wanted, remarks = read_seqmap(self.inputs.seqmap)
        paired = pair_sides(self.truth, self.results, wanted, asked_by)
        remarks += [*paired.remarks, *self.results.remarks]
        if paired.extra:
            remarks.append(
                'results without ground truth are not scored: '
                f'{name_some(paired.extra)}{self._hint_above(paired.extra)}'
            )
        like_jobs = None
        if self.like is not None:
            like_jobs = pair_sides(self.truth, self.like, wanted, asked_by).jobs
        sequences, like, said = self._read(paired.jobs, like_jobs, processes)
        remarks += said
        sequences, said = self._cut(sequences, like, paired.jobs)
        remarks += said
        remarks += refuse_doubts(
            sequences,
            functools.cache(lambda: _read_others(paired.jobs)),
            keep=self.inputs.part is not None or self.like is not None,
        )
        # Boxes of other frames may look like boxes of another form.
        return sequences, remarks + check_sides(sequences, self.inputs.keep_boxes)

    def _hint_above(self, extra: list[str]) -> str:
        """Say where ground truth of other results lies, if a sequence was named."""
        if not isinstance(self.truth, TextSide) or not self.truth.is_file:
            return ''
        with contextlib.suppress(OSError, ValueError, IndexError):
            above = self.truth.folder.absolute().parents[2]
            (near,) = find_truths(above, self.inputs.gt_file)
            if near.folder == above and set(extra) & set(near.names):
                return f'; for all of them name --gt {above}'
        return ''

    def _read(
        self, jobs: list, like_jobs: list | None, processes: int
    ) -> tuple[list[Sequence], list[Sequence] | None, list[str]]:
        """Read sequences, also of what they are like; texts are numbered together."""
        like = None
        if not all(isinstance(job, SequenceFiles) for job in jobs):
            sequences = load_all(jobs, processes)
            if like_jobs is not None:
                like = load_all(like_jobs, processes)
                sequences = [
                    replace(sequence, num_frames=other.num_frames)
                    for sequence, other in zip(sequences, like, strict=True)
                ]
            return sequences, like, []
        options = self.inputs.frame_numbers, self.inputs.result_frame_numbers
        scanned = load_all(jobs, processes, 'scan')
        if like_jobs is None:
            sequences, remarks = number_sequences(scanned, *options)
            return sequences, None, remarks
        deciding = load_all(like_jobs, processes, 'scan')
        like, _ = number_sequences(deciding, *options)
        sequences, remarks = number_sequences(scanned, *options, deciding)
        return sequences, like, remarks

    def _cut(
        self, sequences: list[Sequence], like: list[Sequence] | None, jobs: list
    ) -> tuple[list[Sequence], list[str]]:
        """Cut sequences to the part that is asked for or that the ground truth has."""
        part, remarks = self.inputs.part, []
        if part == Part():  # as it is numbered
            return sequences, []
        texts = [job for job in jobs if isinstance(job, SequenceFiles)]
        name = self._name_of_texts()
        telling = sequences if like is None else like
        half = recognise_half(telling, name, part) if name != GT_FILE else None
        if half is not None:
            half_part, is_cut = half
            if part is not None and part.half and part.half != half_part.half:
                raise ValueError(
                    f'{part}: {name} is of the {half_part.half} half; leave one of '
                    'them away'
                )
            counted = ', counted from 1' if is_cut else ''
            remarks.append(
                f'{name} is taken for the {half_part.half} half of each sequence'
                f'{counted}'
            )
            sequences, said = cut_sequences(sequences, half_part, is_cut, like)
            remarks += said
            if like is not None:
                like, _ = cut_sequences(like, half_part, is_cut)
            part = None if part is not None and part.half else part
        if part is None:
            return sequences, remarks
        guessed = [job.name for job in texts if job.num_frames is None]
        if guessed and part.half:
            remarks.append(
                f'the length of {name_some(guessed)} is not known; the half is that of '
                'the last frame in the texts'
            )
        cut, said = cut_sequences(sequences, part, like=like)
        if part.half and like is None:
            refuse_other_half(sequences, cut, part)
        return cut, remarks + said

    def _name_of_texts(self) -> str:
        """Return what ground truth texts are called, sequences apart."""
        if not isinstance(self.truth, TextSide):
            return GT_FILE
        if self.truth.is_file:
            ((sequence, path),) = self.truth.paths.items()
            return '{seq}.txt' if path.stem == sequence else path.name
        return PurePosixPath(self.inputs.gt_file).name

    def class_names(self) -> dict[int, str]:
        """Names of class numbers that come with the ground truth.

        Raises:
            ValueError: If sequences number their classes differently.
        """
        if isinstance(self.truth, TextSide):
            return labels_beside(self.truth.paths.values())
        return dict(self.truth.class_names)


def find_trackers(inputs: Inputs) -> tuple[list[Tracker], list[str]]:
    """Find the ground truth and the results of each tracker.

    Returns:
        The trackers, whose names differ, and remarks for the user, a line each.

    Raises:
        OSError: If there is no ground truth or there are no results.
        ValueError: If options do not go together, or several ground truths fit.
    """
    if inputs.sequences is not None and inputs.seqmap is not None:
        raise ValueError('--sequences and --seqmap: expected one of them')
    inputs = replace(inputs, results=_each_once(inputs.results))
    foreign = None
    if inputs.gt.exists() and inputs.gt_file == GT_FILE:  # else a text is named
        foreign = open_truth(inputs.gt, inputs.benchmark)
    if foreign is not None:
        if inputs.frame_numbers != 'auto':
            raise ValueError(
                f'--frame-numbers {inputs.frame_numbers}: found {foreign.title} as '
                'ground truth, which says how its frames count; leave the option out'
            )
        sides: list[tuple[str, Path, Side]] = []
        texts = []
        for path in inputs.results:
            side = open_results(path, foreign) if path.exists() else None
            if side is None:
                texts.append(path)
            else:
                sides.append((path.stem, path, side))
        if texts:
            of_one = len(foreign.names) == 1 and inputs.gt.is_file()
            expected = '<sequence>.txt'
            if foreign.title.endswith('JSON'):
                in_one = isinstance(foreign, LoadedSide)
                expected = 'one .json of all sequences' if in_one else '<sequence>.json'
            for name, found_texts in find_results(
                texts, foreign.names, of_one, expected
            ):
                side = as_results(found_texts, foreign)
                if inputs.unclassed is not None and isinstance(side, TextResults):
                    side = replace(side, needs_class=False)
                sides.append((name, found_texts.folder, side))
        trackers = [
            Tracker(name, foreign, _count_frames(side, inputs), inputs)
            for name, side in _tell_apart(sides)
        ]
        return trackers, list(foreign.remarks)
    truths = find_truths(inputs.gt, inputs.gt_file, inputs.gt_columns)
    names = {name for truth in truths for name in truth.names}
    of_one = len(truths) == 1 and truths[0].is_file and truths[0].folder == inputs.gt
    found = find_results(inputs.results, names, of_one)
    truth = replace(
        _choose_truth(inputs.gt, truths, found),
        any_names=inputs.frame_numbers.startswith('count'),
    )
    remarks = []
    inside = truth.folder.parent if truth.is_file else truth.folder
    if truth.folder != inputs.gt:
        remarks.append(f'ground truth is read from {inside}')
    named = {str(path) for path in inputs.results}
    deeper = [str(side.folder) for _, side in found if str(side.folder) not in named]
    if deeper and not all(side.is_listed for _, side in found):
        remarks.append(f'results are read from {name_some(deeper)}')
    for path in inputs.results:
        strays = find_strays(path, [side for _, side in found])
        if strays:
            remarks.append(
                f'no results of these sequences in {name_some(strays)}, which '
                'is not scored'
            )
    return [Tracker(name, truth, side, inputs) for name, side in found], remarks


def _count_frames(side: Side, inputs: Inputs) -> Side:
    """Let results for a ground truth in another format count as is asked for.

    Raises:
        ValueError: If they cannot.
    """
    choice = inputs.result_frame_numbers
    if choice == 'auto':
        return side
    if not isinstance(side, TextResults):
        raise ValueError(
            f'--result-frame-numbers {choice}: found {side.title} as results, which '
            'says how its frames count; leave the option out'
        )
    if choice == 'names':
        raise ValueError(
            '--result-frame-numbers names: expected count or count0 for results of a '
            'ground truth that is no MOTChallenge text'
        )
    return replace(side, first_frame=0 if choice == 'count0' else 1)


def _each_once(paths: SequenceOf[Path]) -> list[Path]:
    """Leave out paths that lead where an earlier one leads."""
    known: dict[Path, Path] = {}
    for path in paths:
        known.setdefault(path.resolve(), path)
    return list(known.values())


def find_unpaired(paths: SequenceOf[Path]) -> list[tuple[str, Side]]:
    """Find results without any ground truth.

    They are what :func:`find_trackers` takes for results, except for JSON of COCO-VID
    and TAO, whose images only the ground truth numbers.

    Args:
        paths: Folders, zips and files.

    Returns:
        Names of the trackers, which differ, and their results.

    Raises:
        OSError: If there are no results.
        ValueError: If they cannot be read without a ground truth.
    """
    sides: list[tuple[str, Path, Side]] = []
    texts, folders = [], []
    for path in _each_once(paths):
        side = open_unpaired(path) if path.exists() else None
        if side is not None:
            sides.append((path.stem, path, side))
        elif path.is_file() and not zipfile.is_zipfile(path):
            texts.append(path)
        else:
            folders.append(path)
    # Names are unknown: all texts of a folder are taken, and of texts those of one.
    found = find_results(texts, ()) if texts else []
    found += find_results(folders, (), of_one=True) if folders else []
    sides += [(name, side.folder, as_unpaired(side)) for name, side in found]
    return _tell_apart(sides)


def _tell_apart(sides: SequenceOf[tuple[str, Path, Side]]) -> list[tuple[str, Side]]:
    """Name trackers of one name by the path of their results instead."""
    names = [name for name, _, _ in sides]
    return [
        (str(path) if names.count(name) > 1 else name, side)
        for name, path, side in sides
    ]


def _choose_truth(
    path: Path, truths: list[TextSide], found: list[tuple[str, TextSide]]
) -> TextSide:
    """Choose the folder of ground truth that the results are of."""
    if len(truths) == 1:
        return truths[0]
    results = {base_name(name) for _, side in found for name in side.names}
    shared = [
        len(results & {base_name(name) for name in truth.names}) for truth in truths
    ]
    best = [
        truth
        for truth, number in zip(truths, shared, strict=True)
        if number == max(shared)
    ]
    if len(best) > 1:
        raise ValueError(
            f'{path}: found {len(best)} folders of ground truth that the results may '
            f'be of, expected one: name {name_some([str(t.folder) for t in best])}'
        )
    return best[0]


def _read_others(jobs: list) -> dict[str, dict[str, Tracks]]:
    """Read the texts that lie next to the ground truth, by option and sequence."""
    found: dict[str, dict[str, Tracks]] = {}
    for job in jobs:
        if not isinstance(job, SequenceFiles) or job.gt_path.parent.name != 'gt':
            continue
        for path in sorted(job.gt_path.parent.glob('*.txt')):
            if path == job.gt_path:
                continue
            with contextlib.suppress(OSError, ValueError):  # another kind of text
                tracks = read_tracks(path)
                found.setdefault(f'--gt-file {path.name}', {})[job.name] = tracks
    return found
