# Copyright (c) mmfdta authors.
"""Results that are not of the frames or sequences that they are scored on."""

from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace

import numpy as np

from mmfdta.structures.tracks import Sequence, Tracks

from .folders import name_some
from .parts import half_length, is_clear, last_frame, rate, rate_all

# Share of the annotated frames, and number, that a tracker may find nothing in at
# either end.
_QUIET_SHARE, _QUIET_FRAMES = 0.1, 3
# Share of the annotated frames that results leave out before they count as a part.
_PART_SHARE = 0.25
# By how much the mean overlap must grow one frame later or earlier to be said, and to
# be refused; and the fewest rows that tell.
_BETTER, _FAR_BETTER, _FEW_ROWS = 0.05, 0.1, 20
# Frames that results may be off, as long as each further one fits better.
_FARTHEST = 100
# Sequences whose frames are looked for one by one.
_SHIFTED = 8
# Below this share of boxes that meet an object it is doubtful that both sides belong
# together.
_HARDLY = 0.1
# Distances of frames that are tried.
_STEPS = range(2, 11)


@dataclass(frozen=True)
class _Reach:
    """How far the results of a sequence reach, against its annotated frames.

    Attributes:
        name: Name of the sequence.
        length: Its length.
        gt: int64 (G,), ascending, the annotated frames.
        pred: int64 (P,), ascending, the frames with results.
    """

    name: str
    length: int
    gt: np.ndarray
    pred: np.ndarray

    @classmethod
    def of(cls, sequence: Sequence) -> '_Reach':
        scored = sequence.gt.frame[sequence.gt.score != 0]
        frames = np.unique(scored), np.unique(sequence.pred.frame)
        return cls(sequence.name, sequence.num_frames, *frames)

    @property
    def first(self) -> int:
        """First frame with results."""
        return int(self.pred[0])

    @property
    def last(self) -> int:
        """Last frame with results."""
        return int(self.pred[-1])

    @property
    def begins_late(self) -> bool:
        """Whether the results leave out many annotated frames at the beginning."""
        return self._is_silence((self.gt < self.first).sum())

    @property
    def ends_early(self) -> bool:
        """The same at the end."""
        return self._is_silence((self.gt > self.last).sum())

    def _is_silence(self, number: int) -> bool:
        """Tell whether frames at an end are more than the gaps of a poor tracker."""
        places = np.searchsorted(self.gt, self.pred)
        gap = int(np.diff(places).max(initial=1)) - 1
        return _is_many(number, self.gt) and number > 2 * gap

    @property
    def goes_beyond(self) -> bool:
        """Whether many frames with results lie behind the ground truth."""
        return _is_many((self.pred > self.gt[-1]).sum(), self.pred)

    @property
    def outside(self) -> float:
        """Share of the annotated frames before and behind all results."""
        return float(((self.gt < self.first) | (self.gt > self.last)).mean())

    @property
    def covered(self) -> int:
        """Number of annotated frames with results."""
        return len(np.intersect1d(self.gt, self.pred, assume_unique=True))

    @property
    def second_half(self) -> int:
        """Number of frames of the second half."""
        return self.length - half_length(self.length)

    @property
    def ends_at_half(self) -> bool:
        """Whether the results end where the first half does, or little before."""
        middle = half_length(self.length)
        return middle - max(2, 0.05 * self.length) <= self.last <= middle

    @property
    def begins_at_half(self) -> bool:
        """Whether the results begin where the second half does, or little behind."""
        middle = half_length(self.length)
        return middle <= self.first <= middle + 1 + max(2, 0.05 * self.length)


def _is_many(number: int, frames: np.ndarray) -> bool:
    return number >= max(_QUIET_FRAMES, _QUIET_SHARE * len(frames))


def find_doubts(
    sequences: SequenceOf[Sequence],
    others: Callable[[], dict[str, dict[str, Tracks]]] = dict,
) -> tuple[str, list[str]]:
    """Ask whether results are of the frames that they are scored on.

    A tracker may find nothing in the last frames of a sequence. It is not likely to
    find nothing in half of it, or to stop early in all of them; and where other frame
    numbers or another text fit far better, these are meant.

    Args:
        sequences: What is to be scored, as it is numbered.
        others: Reads other ground truth texts, by the option that takes them and the
            name of the sequence.

    Returns:
        Why they are not to be scored, empty if there is no reason; and remarks.
    """
    filled = [s for s in sequences if len(s.pred) and (s.gt.score != 0).any()]
    empty = [s.name for s in sequences if not len(s.pred) and len(s.gt)]
    remarks = []
    if empty and not filled:
        refusal = (
            f'found no rows in the results of {name_some(empty)}, as after a run that '
            'was broken off'
        )
        return refusal, []
    if empty:
        remarks.append(
            f'the results of {name_some(empty)} are empty: all objects count as missed'
        )
    if not filled:
        return '', remarks
    reaches = [_Reach.of(sequence) for sequence in filled]
    cut = [reach for reach in reaches if reach.begins_late or reach.ends_early]
    longer = [reach for reach in reaches if reach.goes_beyond]
    apart = [r for r in reaches if r.first > r.gt[-1] or r.last < r.gt[0]]
    if len(apart) == len(reaches):
        first = reaches[0]
        refusal = (
            f'results and ground truth have no frame in common ({first.name}: frames '
            f'{first.first} to {first.last}, ground truth {first.gt[0]} to '
            f'{first.gt[-1]}); number both from the same frame'
        )
        return refusal, remarks
    fit = rate_all(filled)
    refusal = ''
    if len(filled) in (len(cut), len(longer)) or fit < 0.6:
        refusal = _find_better(filled, reaches, fit, others)
    refusal = refusal or _find_step(reaches) or _find_odd_one(filled, reaches, others)
    if refusal:
        return refusal, remarks
    if fit < _HARDLY and sum(len(s.pred) for s in filled) >= _FEW_ROWS:
        remarks.append(
            f'only {fit:.0%} of the results meet an object: are they of this ground '
            'truth, and of these frames?'
        )
    refusal, said = _find_one_off(filled)
    remarks += said
    if refusal:
        return refusal, remarks
    if _are_most(cut, reaches):
        refusal = _say_part(cut)
    elif _are_most(longer, reaches):
        refusal = _say_short_truth(longer)
    elif cut:
        names = [f'{reach.name} ({_span(reach)})' for reach in cut]
        remarks.append(
            f'results leave out annotated frames, which count as missed: '
            f'{name_some(names)}'
        )
    elif sum(r.covered for r in reaches) < 0.5 * sum(len(r.gt) for r in reaches):
        remarks.append(
            f'results are in {sum(r.covered for r in reaches)} of '
            f'{sum(len(r.gt) for r in reaches)} annotated frames; in the others all '
            'objects count as missed'
        )
    if refusal and _may_be_right(cut if _are_most(cut, reaches) else longer):
        return '', [*remarks, refusal]
    return refusal, remarks


def _find_odd_one(
    sequences: list[Sequence],
    reaches: list[_Reach],
    others: Callable[[], dict[str, dict[str, Tracks]]],
) -> str:
    """Look for one sequence among several that alone is of other frames."""
    if len(sequences) == 1:
        return ''
    for sequence, reach in zip(sequences, reaches, strict=True):
        if not reach.ends_early or len(sequence.pred) < _FEW_ROWS:
            continue
        fit = rate_all([sequence])
        better = _find_better([sequence], [reach], fit, others) if fit < 0.6 else ''
        if better:
            return (
                f'{better.replace("of the sequence", f"of {reach.name}", 1)}, for this '
                f'sequence alone (--sequences {reach.name})'
            )
    return ''


def _find_one_off(sequences: list[Sequence]) -> tuple[str, list[str]]:
    """Find out whether results lie better on the objects some frames off.

    A tracker whose boxes come a frame late is possible, one whose boxes come before
    the objects, or several frames late, is not.

    Returns:
        Why they are not to be scored, empty if there is no reason; and remarks.
    """
    number = sum(len(s.pred) for s in sequences)
    overlap = {}

    def measure(shift: int) -> float:
        found = [rate(s.gt, _shift(s.pred, shift), 16) for s in sequences]
        rows = sum(n for _, _, n in found)
        overlap[shift] = sum(iou for _, iou, _ in found) / max(rows, 1)
        return overlap[shift]

    for shift in (-1, 0, 1):
        measure(shift)
    best = max(overlap, key=lambda shift: (overlap[shift], shift == 0))
    while best and abs(best) < _FARTHEST:
        further = best + (1 if best > 0 else -1)
        if measure(further) <= overlap[best]:
            break
        best = further
    gain = overlap[best] - overlap[0]
    if number < _FEW_ROWS or gain < _BETTER:
        return '', []
    if abs(best) > 1:
        text = (
            f'results lie better on the objects {abs(best)} frames '
            f'{"later" if best > 0 else "earlier"} (mean overlap {overlap[best]:.2f}, '
            f'{overlap[0]:.2f} as they are numbered): number both from the same frame'
        )
        return (text, []) if gain >= _FAR_BETTER else ('', [text])
    when, side, option = {
        1: ('later', 'results', '--result-frame-numbers'),
        -1: ('earlier', 'ground truth', '--frame-numbers'),
    }[best]
    text = (
        f'results lie better on the objects one frame {when} (mean overlap '
        f'{overlap[best]:.2f}, {overlap[0]:.2f} as they are numbered): if the {side} '
        f'counts from 0, add {option} count0'
    ).replace('results counts', 'results count')
    if best == 1 and gain >= _FAR_BETTER:
        return text, []
    return '', [text]


def _are_most(some: list[_Reach], of_all: list[_Reach]) -> bool:
    """Tell whether these are all sequences, or three of four and more."""
    return len(some) == len(of_all) or len(some) >= max(3, 0.75 * len(of_all))


def _may_be_right(reaches: list[_Reach]) -> bool:
    """Tell whether a tracker may have left out these frames of these sequences."""
    if all(r.ends_at_half or r.begins_at_half for r in reaches):
        return False
    beyond = [float((reach.pred > reach.gt[-1]).mean()) for reach in reaches]
    if len(reaches) == 1:
        return max(reaches[0].outside, beyond[0]) < 0.5
    if min(beyond) > _PART_SHARE:  # each ground truth ends long before the results
        return False
    same_end = len({r.last for r in reaches}) == 1 and not any(
        r.goes_beyond for r in reaches
    )
    return not same_end and any(r.outside < _PART_SHARE for r in reaches)


def _span(reach: _Reach) -> str:
    return f'{reach.first} to {reach.last} of {reach.length}'


def _say_part(reaches: list[_Reach]) -> str:
    """Say that results cover a part, and what scores that part."""
    first = reaches[0]
    found = f'results cover a part of {_all_of(reaches)} ({first.name}: {_span(first)})'
    if all(reach.begins_at_half for reach in reaches):
        advice = 'add --half second if they are of that half'
    elif all(reach.ends_at_half for reach in reaches):
        advice = 'add --half first or --half second if they are of that half'
    else:
        begin = min(reach.first for reach in reaches)
        end = max(reach.last for reach in reaches)
        advice = f'add --frames {begin}-{end} if they are of these frames'
    return f'{found}: {advice}'


def _say_short_truth(reaches: list[_Reach]) -> str:
    """Say that ground truth covers a part, and what scores that part."""
    first, last = reaches[0], max(int(reach.gt[-1]) for reach in reaches)
    return (
        f'the ground truth covers a part of {_all_of(reaches)} ({first.name}: it ends '
        f'at frame {first.gt[-1]}, results at {first.last}): name the whole ground '
        f'truth, with --gt-file if it lies beside, or add --frames 1-{last}'
    )


def _all_of(reaches: list[_Reach]) -> str:
    return 'every sequence' if len(reaches) > 1 else 'the sequence'


def _find_step(reaches: list[_Reach]) -> str:
    """Find out whether one side has every k-th frame only; say what scores these."""
    for side, other, has, has_more in (
        ('pred', 'gt', 'results are', 'the ground truth'),
        ('gt', 'pred', 'the ground truth is', 'results'),
    ):
        grids = set()
        for reach in reaches:
            frames, full = getattr(reach, side), getattr(reach, other)
            step = int(np.gcd.reduce(np.diff(frames))) if len(frames) >= 5 else 1
            first = (int(frames[0]) - 1) % step + 1
            within = full[(full >= frames[0]) & (full <= frames[-1])]
            left_out = ((within - first) % step != 0).sum()
            grids.add((step, first) if _is_many(left_out, full) else (1, 1))
        step, first = max(grids)
        if len(grids) == 1 and step > 1:
            return (
                f'{has} of one frame in {step} only, {has_more} of others, too '
                f'({reaches[0].name}): add --frames {first}-/{step} for these frames'
            )
    return ''


def _find_better(
    sequences: list[Sequence],
    reaches: list[_Reach],
    fit: float,
    others: Callable[[], dict[str, dict[str, Tracks]]],
) -> str:
    """Look for other frame numbers or ground truth that fit far better.

    Returns:
        What fits, and the option for it; empty if nothing does.
    """
    found: list[tuple[float, str, str]] = []

    def try_out(what: str, option: str, changed: list[Sequence]) -> None:
        found.append((rate_all(changed), what, option))

    pairs = list(zip(sequences, reaches, strict=True))
    if all(reach.last <= reach.second_half for reach in reaches):
        shifted = [
            replace(s, pred=_shift(s.pred, half_length(r.length))) for s, r in pairs
        ]
        try_out('the second half, counted from 1', '--half second', shifted)
    if all(reach.last <= reach.second_half + 1 for reach in reaches):
        shifted = [replace(s, pred=_shift(s.pred, r.length // 2)) for s, r in pairs]
        if rate_all(shifted) > max((share for share, _, _ in found), default=0) + 0.02:
            what = 'the second half of a cut at L // 2 frames, counted from 1'
            option = f'--frames {reaches[0].length // 2 + 1}-{reaches[0].length}'
            alone = f' to {reaches[0].name} alone, and the like to the others'
            try_out(what, option + (alone if len(reaches) > 1 else ''), shifted)
    for option, texts in others().items():
        if all(sequence.name in texts for sequence in sequences):
            changed = [replace(s, gt=texts[s.name]) for s in sequences]
            try_out(f'{option.split()[-1]}', option, changed)
    for step in _STEPS:
        if not all(0.6 * r.length <= r.last * step < r.length + step for r in reaches):
            continue
        for first in range(1, step + 1):
            spread = [
                replace(s, pred=_shift(s.pred, first - step, step)) for s in sequences
            ]
            what = f'one frame in {step}, counted from 1'
            try_out(what, f'--frames {first}-/{step}', spread)
    if all(r.gt[-1] <= r.second_half < r.last for r in reaches):
        shifted = [replace(s, gt=_shift(s.gt, half_length(r.length))) for s, r in pairs]
        what = 'the whole, and the ground truth is of the second half, counted from 1'
        try_out(what, '--half second and name the whole ground truth', shifted)
    if fit < 0.5 and max((share for share, _, _ in found), default=0) < 0.6:
        shifts = [_find_shift(sequence) for sequence in sequences[:_SHIFTED]]
        shown = sequences[:_SHIFTED]
        moved = [
            replace(s, pred=_shift(s.pred, shift))
            for s, shift in zip(shown, shifts, strict=True)
        ]
        first = 1 + shifts[0]
        if len(set(shifts)) == 1:
            last = max(last_frame(sequence.pred) for sequence in moved)
            alone = ''
        else:
            last = last_frame(moved[0].pred)
            alone = f' to {reaches[0].name} alone, and the like to the others'
        option = f'--frames {first}-{last}{alone}'
        try_out(f'frames {first} to {last}', option, moved)
    found = [other for other in found if is_clear(other[0], fit)]
    if not found:
        return ''
    best = max(found)
    options = ' or '.join(
        option for share, _, option in found if share >= best[0] - 0.02
    )
    return (
        f'results of {_all_of(reaches)} fit {best[1]} ({best[0]:.0%} of the boxes meet '
        f'an object, {fit:.0%} as they are numbered): add {options}'
    )


def _find_shift(sequence: Sequence) -> int:
    """Find the number of frames by which results have to move on to fit best."""
    most = sequence.num_frames - last_frame(sequence.pred)
    rates = [
        rate(sequence.gt, _shift(sequence.pred, shift), 8)[1]
        for shift in range(max(most, 0) + 1)
    ]
    return int(np.argmax(rates))


def _shift(tracks: Tracks, frames: int, factor: int = 1) -> Tracks:
    return replace(tracks, frame=tracks.frame * factor + frames)


def find_swaps(sequences: SequenceOf[Sequence]) -> tuple[str, list[str]]:
    """Find results that fit the ground truth of another sequence far better.

    Returns:
        Why they are not to be scored, empty if there is no reason; and remarks.
    """
    found: list[tuple[float, float, str]] = []
    for sequence in sequences:
        if not len(sequence.pred) or sequence.partial is not None:
            continue  # of a few classes in a frame, most results meet nothing
        fit = rate_all([sequence])
        if fit >= 0.3:
            continue
        shares = [
            (rate_all([replace(other, pred=sequence.pred)]), other.name)
            for other in sequences
            if other is not sequence
        ]
        share, name = max(shares, default=(0.0, ''))
        if share >= max(0.5, 2 * fit):
            text = (
                f'the results of {sequence.name} fit the ground truth of {name} '
                f'({share:.0%} of their boxes meet an object there, {fit:.0%} in '
                f'{sequence.name})'
            )
            found.append((share, fit, text))
    texts = [text for _, _, text in found]
    if any(share >= 0.6 and fit <= 0.2 for share, fit, _ in found):
        return f'{"; ".join(texts[:3])}: name the files after their sequences', []
    return '', texts
