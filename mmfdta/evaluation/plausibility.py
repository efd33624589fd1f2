# Copyright (c) mmfdta authors.
"""Looks at a set of sequences for what can only give wrong numbers, or may do so."""

from collections.abc import Sequence as SequenceOf
from dataclasses import replace

import numpy as np

from mmfdta.structures.benchmarks import get_benchmark
from mmfdta.structures.plausibility import describe_pairs
from mmfdta.structures.tracks import Sequence, Tracks

from .folders import name_some
from .parts import is_clear, rate
from .scores import Settings, select_classes

# Fewest rows and frames that show how a tracker numbers its boxes or moves them.
_ROWS, _FRAMES = 10, 5
# Share of results that meet an object of their own class by chance.
_CHANCE = 0.1


def check_sides(sequences: SequenceOf[Sequence], keep_boxes: bool = False) -> list[str]:
    """Refuse boxes in different forms, and detections for tracks.

    Args:
        sequences: All that are scored together.
        keep_boxes: Boxes are meant as they stand, whatever form they seem to have.

    Returns:
        What may be meant, but is worth a line.

    Raises:
        ValueError: If a side cannot be what it is taken for.
    """
    for title in ('ground truth', 'results'):
        identity = np.concatenate(
            [(s.pred if title == 'results' else s.gt).identity for s in sequences]
        )
        if len(identity) and (identity == -1).all():
            raise ValueError(
                f'{title}: the identity is -1 in all {len(identity)} rows: these are '
                'detections, not tracks'
            )
        sizes = np.concatenate(
            [(s.pred if title == 'results' else s.gt).xywh[:, 2:] for s in sequences]
        )
        flat = int((sizes <= 0).any(axis=1).sum())
        if len(sizes) >= _ROWS and 2 * flat > len(sizes):
            raise ValueError(
                f'{title}: width or height is 0 or less in {flat} of {len(sizes)} '
                'boxes, which overlap nothing: is the form of the boxes the one that '
                'the format has?'
            )
    found = describe_pairs(sequences)
    if found is not None and not keep_boxes:
        raise ValueError(f'{found}; --keep-boxes scores them as they stand')
    checks = {
        'results give every box an identity of its own: detections, not tracks?': (
            _numbers_boxes
        ),
        'results have the same boxes in every frame': _stands_still,
        'results are the ground truth itself, box by box': _is_copy,
    }
    remarks = [] if found is None else [found]
    remarks += [
        f'{message} ({name_some(names)})'
        for message, check in checks.items()
        if (names := [s.name for s in sequences if len(s.pred) >= _ROWS and check(s)])
    ]
    fractions = sum(int((s.gt.score % 1 != 0).sum()) for s in sequences)
    if fractions:
        remarks.append(
            f'column 7 of the ground truth is a fraction in {fractions} rows: they are '
            'scored, TrackEval cuts it off and leaves rows below 1 out'
        )
    return remarks


def check_class_numbers(sequences: SequenceOf[Sequence], settings: Settings) -> None:
    """Refuse results whose boxes lie on objects of the next class number.

    Args:
        sequences: All that are scored together.
        settings: How they are scored.

    Raises:
        ValueError: If they do, and on hardly any object of their own class.
    """
    whole = [sequence for sequence in sequences if sequence.partial is None]
    if not settings.numbers or not whole:
        return
    numbers = [
        {*np.concatenate([side.label for side in sides]).tolist()} - {-1}
        for sides in (
            [s.gt.select(s.gt.score != 0) for s in whole],
            [s.pred for s in whole],
        )
    ]
    gt, pred = numbers
    if 0 in gt | pred and not settings.all_classes:
        return  # told by the numbers alone

    def meet(shift: int) -> float:
        counts = [
            rate(
                s.gt.select(s.gt.label == number + shift),
                s.pred.select(s.pred.label == number),
            )
            for s in whole
            for number in pred
        ]
        return sum(n for n, _, _ in counts) / max(sum(n for _, _, n in counts), 1)

    for shift, where, advice in (
        (-1, 'below', 'take 1 off'),
        (1, 'above', 'add 1 to'),
    ):
        moved = {number + shift for number in pred}
        if not pred or not moved <= gt or meet(0) > _CHANCE:
            continue
        share = meet(shift)
        if is_clear(share, meet(0)):
            found = [', '.join(map(str, sorted(side))) for side in numbers]
            raise ValueError(
                f'classes: the ground truth has {found[0]}, the results have '
                f'{found[1]}, and {share:.0%} of the results meet an object of the '
                f'class one {where} their own, {meet(0):.0%} one of their own: '
                f'{advice} the class numbers of the results (column 8)'
            )


def _numbers_boxes(sequence: Sequence) -> bool:
    identity, frame = sequence.pred.identity, sequence.pred.frame
    several = len(np.unique(frame)) >= _FRAMES
    return several and len(np.unique(identity)) == len(identity)


def _stands_still(sequence: Sequence) -> bool:
    return _is_still(sequence.pred) and not _is_still(sequence.gt)


def _is_still(tracks: Tracks) -> bool:
    """Tell whether no identity ever moves, of those with boxes in several frames."""
    _, first, which, count = np.unique(
        tracks.identity, return_index=True, return_inverse=True, return_counts=True
    )
    same = (tracks.xywh == tracks.xywh[first][which]).all()
    return bool(same and count.max(initial=0) >= _FRAMES)


def _is_copy(sequence: Sequence) -> bool:
    gt, pred = sequence.gt, sequence.pred
    if len(gt) != len(pred) or (gt.xywh.max(axis=0) != pred.xywh.max(axis=0)).any():
        return False
    rows = [
        np.column_stack([side.frame, side.xywh])[np.lexsort((*side.xywh.T, side.frame))]
        for side in (gt, pred)
    ]
    return bool((rows[0] == rows[1]).all())


def check_scored(sequences: SequenceOf[Sequence], settings: Settings) -> list[str]:
    """Refuse a ground truth of which nothing is scored.

    Args:
        sequences: All that are scored together.
        settings: How they are scored.

    Returns:
        What is to be said of single sequences.

    Raises:
        ValueError: If no sequence has anything to score; the message says why.
    """
    nothing = []
    for sequence in sequences:
        alone = replace(sequence, pred=Tracks.empty())
        scored = select_classes(alone, settings).values()
        if not any(len(part.gt) for part in scored):
            nothing.append(sequence)
    if not nothing:
        return []
    reason = _explain(nothing, settings)
    if len(nothing) == len(sequences):
        raise ValueError(f'nothing of the ground truth is scored: {reason}')
    names = name_some([sequence.name for sequence in nothing])
    return [
        f'nothing of the ground truth of {names} is scored, so that every result '
        f'there is wrong: {reason}'
    ]


def _explain(sequences: SequenceOf[Sequence], settings: Settings) -> str:
    gt = Tracks.concatenate([sequence.gt for sequence in sequences])
    if not len(gt):
        return 'it has no rows'
    flagged = gt.select(gt.score != 0)
    if not len(flagged):
        return f'column 7 is 0, not to be considered, in all {len(gt)} rows'
    benchmark = get_benchmark(settings.benchmark)
    numbers = {n for of_class in settings.numbers.values() for n in of_class}
    if benchmark.scored_class is not None:
        numbers = {benchmark.scored_class}
    if numbers and not np.isin(flagged.label, [*numbers]).any():
        found = ', '.join(map(str, np.unique(flagged.label)))
        wanted = ', '.join(map(str, sorted(numbers)))
        return (
            f'column 8 has the classes {found}, the rules of {benchmark.name} score '
            f'{wanted}'
        )
    return f'the rules of {benchmark.name} leave all {len(gt)} rows out'
