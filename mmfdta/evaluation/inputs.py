# Copyright (c) mmfdta authors.
"""What is scored: from what a command names to sequences with both sides."""

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from pathlib import Path

from mmfdta.structures.tracks import Sequence

from .folders import (
    GT_FILE,
    TextSide,
    base_name,
    find_results,
    find_truths,
    name_some,
)
from .formats import Side, open_results, open_truth
from .pairing import pair_sides, read_seqmap
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
    """

    gt: Path
    results: SequenceOf[Path]
    sequences: SequenceOf[str] | None = None
    seqmap: Path | None = None
    gt_file: str = GT_FILE
    gt_columns: int = 6


@dataclass(frozen=True)
class Tracker:
    """Results of one tracker, and the ground truth they are scored with.

    Attributes:
        name: Name of the tracker.
        truth: The ground truth.
        results: What the tracker wrote.
        inputs: What was named.
    """

    name: str
    truth: Side
    results: Side
    inputs: Inputs

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
        remarks += paired.remarks
        if paired.extra:
            remarks.append(
                f'{len(paired.extra)} results have no ground truth and are not '
                f'scored, the first is {paired.extra[0]}'
            )
        return load_all(paired.jobs, processes), remarks


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
    foreign = open_truth(inputs.gt) if inputs.gt.exists() else None
    if foreign is not None:
        sides: list[tuple[str, Side]] = []
        for path in inputs.results:
            side = open_results(path, foreign) if path.exists() else None
            sides += (
                find_results([path], foreign.names)
                if side is None
                else [(path.stem, side)]
            )
        return [Tracker(name, foreign, side, inputs) for name, side in sides], []
    truths = find_truths(inputs.gt, inputs.gt_file, inputs.gt_columns)
    names = {name for truth in truths for name in truth.names}
    of_one = len(truths) == 1 and truths[0].is_file and truths[0].folder == inputs.gt
    found = find_results(inputs.results, names, of_one)
    truth = _choose_truth(inputs.gt, truths, found)
    remarks = []
    inside = truth.folder.parent if truth.is_file else truth.folder
    if truth.folder != inputs.gt:
        remarks.append(f'ground truth is read from {inside}')
    named = {str(path) for path in inputs.results}
    deeper = [str(side.folder) for _, side in found if str(side.folder) not in named]
    if deeper and not all(side.is_listed for _, side in found):
        remarks.append(f'results are read from {name_some(deeper)}')
    return [Tracker(name, truth, side, inputs) for name, side in found], remarks


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
