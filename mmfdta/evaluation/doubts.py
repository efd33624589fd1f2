# Copyright (c) mmfdta authors.
"""Results that are not of the frames or sequences that they are scored on."""

from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace

import numpy as np

from mmfdta.structures.frames import half_length
from mmfdta.structures.tracks import Sequence, Tracks

from .folders import name_some
from .parts import is_clear, last_frame, rate, rate_all, rate_moved

# Share of the annotated frames, and number, that a tracker may find nothing in at
# either end.
_QUIET_SHARE, _QUIET_FRAMES = 0.1, 3
# Share of the annotated frames that results leave out before they count as a part.
_PART_SHARE = 0.25
# By how much the mean overlap must grow some frames later or earlier to be said, and
# to be refused; and the fewest rows that tell.
_BETTER, _FAR_BETTER, _FEW_ROWS = 0.05, 0.1, 20
# Distances by which results are moved, at first; a tracker may come two frames late.
_OFFSETS = [*range(1, 11), *range(12, 62, 2)]
_LATE = 2
# Distances around the best that are measured once more, in as many frames.
_NEAR, _EXACT = 3, 200
# What the mean overlap must be there, and if it is half as large again: boxes of chance
# lie on some object now and then.
_ON_OBJECTS, _ON_SOME = 0.5, 0.35
# Sequences whose frames are looked for one by one, and that are described.
_SHIFTED, _MOST_TEXTS = 8, 3
# Below this share of boxes that meet an object it is doubtful that both sides belong
# together.
_HARDLY = 0.1
# Pairs of sequences that are compared to find results of another one.
_MOST_PAIRS = 5000
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
        rows: int64 (P,), the number of results in each of them.
    """

    name: str
    length: int
    gt: np.ndarray
    pred: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, sequence: Sequence) -> '_Reach':
        scored = sequence.gt.frame[sequence.gt.score != 0]
        found = np.unique(sequence.pred.frame, return_counts=True)
        return cls(sequence.name, sequence.num_frames, np.unique(scored), *found)

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
    def comes_before(self) -> bool:
        """The same before it."""
        return _is_many((self.pred < self.gt[0]).sum(), self.pred)

    @property
    def is_of_more(self) -> bool:
        """Whether results are as dense outside of the ground truth as within.

        What a tracker finds where nobody is, is less.
        """
        outside = (self.pred < self.gt[0]) | (self.pred > self.gt[-1])
        if outside.mean() < _PART_SHARE or self.rows[outside].sum() < _FEW_ROWS:
            return False
        within = self.rows[~outside].sum() / (self.gt[-1] - self.gt[0] + 1)
        span = self.last - self.first + 1 - (~outside).sum()
        return bool(self.rows[outside].sum() / max(span, 1) >= 0.5 * within)

    @property
    def has_half(self) -> str:
        """Which half the ground truth is of; empty if it is of none."""
        middle, near = half_length(self.length), max(2, 0.05 * self.length)
        if self.gt[0] <= near and middle - near <= self.gt[-1] <= middle:
            return 'first'
        if middle < self.gt[0] <= middle + near and self.gt[-1] > self.length - near:
            return 'second'
        return ''

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


def refuse_doubts(
    sequences: SequenceOf[Sequence],
    others: Callable[[], dict[str, dict[str, Tracks]]] = dict,
    keep: bool = False,
) -> list[str]:
    """Refuse results that are not of the frames or sequences they are scored on.

    Args:
        sequences: What is to be scored, as it is numbered.
        others: See :func:`find_doubts`.
        keep: Score them as they are numbered.

    Returns:
        Remarks for the user, a line each; with ``keep`` also what would be refused.

    Raises:
        ValueError: If they are not, and ``keep`` is not set.
    """
    # Of classes annotated in part most results meet nothing.
    whole = [sequence for sequence in sequences if sequence.partial is None]
    remarks = []
    doubts = find_doubts(whole, others), find_swaps(whole), find_apart(whole)
    for refusal, said in doubts:
        if refusal and not keep:
            raise ValueError(f'{refusal}; --frames all scores them as they are')
        remarks += [*said, *([refusal] if refusal else [])]
    return remarks


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
    longer = [reach for reach in reaches if reach.goes_beyond or reach.comes_before]
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
    refusal = refusal or _find_odd(filled, reaches, others) or _find_step(reaches)
    if refusal:
        return refusal, remarks
    if fit < _HARDLY and sum(len(s.pred) for s in filled) >= _FEW_ROWS:
        remarks.append(
            f'only {fit:.0%} of the results meet an object: are they of this ground '
            'truth, and of these frames?'
        )
    refusal, said = _find_offset(filled, reaches)
    remarks += said
    if refusal:
        return refusal, remarks
    if _are_most(cut, reaches):
        refusal = _say_part(cut)
    elif _are_most(longer, reaches):
        refusal = _say_short_truth(longer, _all_of(longer))
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
    if _are_most(cut, reaches):
        may_be_right = _may_be_right(cut)
    elif _are_most(longer, reaches):
        may_be_right = not all(reach.is_of_more for reach in longer)
    else:
        odd = [reach for reach in longer if reach.is_of_more]
        may_be_right = not all(reach.has_half for reach in odd)
        refusal = _say_short_truth(odd, 'some sequences') if odd else ''
    if refusal and may_be_right:
        return '', [*remarks, refusal]
    return refusal, remarks


@dataclass(frozen=True)
class _Offset:
    """How well results lie on objects some frames later or earlier.

    Attributes:
        frames: By how many frames they are moved; earlier if negative.
        usual: Mean overlap as they are numbered.
        moved: Mean overlap of the same results when they are moved.
        worse: Whether they lie worse in one of the sequences, or none can tell.
    """

    frames: int = 0
    usual: float = 0.0
    moved: float = 0.0
    worse: bool = False

    @classmethod
    def of(cls, sequences: list[Sequence], frames: int, sample: int = 40) -> '_Offset':
        """Measure it for some sequences together."""
        rated = [rate_moved(sequence, frames, sample) for sequence in sequences]
        usual, moved = (np.concatenate(side) for side in zip(*rated, strict=True))
        if len(usual) < _FEW_ROWS:
            return cls()
        worse = any(not len(u) or (m - u).mean() < -_BETTER for u, m in rated)
        return cls(frames, float(usual.mean()), float(moved.mean()), worse)

    @property
    def gain(self) -> float:
        """By how much they lie better when they are moved."""
        return self.moved - self.usual

    @property
    def is_told(self) -> bool:
        """Whether they lie better beyond chance."""
        least = _ON_SOME if self.moved >= 1.5 * self.usual else _ON_OBJECTS
        return self.gain >= _BETTER and self.moved >= least

    @property
    def is_wrong(self) -> bool:
        """Whether no tracker is so early or late.

        Boxes a frame late are possible, boxes before the objects are not.
        """
        if not self.is_told or self.frames == -1:
            return False
        return self.gain >= _FAR_BETTER or abs(self.frames) > _LATE

    def describe(self, whose: str, reaches: list[_Reach]) -> str:
        """Say it, and what to do.

        Args:
            whose: What is added to "results".
            reaches: Of the sequences.
        """
        count = abs(self.frames)
        number = 'one frame' if count == 1 else f'{count} frames'
        found = (
            f'results{whose} lie better on the objects {number} '
            f'{"later" if self.frames > 0 else "earlier"} (mean overlap '
            f'{self.moved:.2f}, {self.usual:.2f} as they are numbered): '
        )
        if self.frames == 1:
            found += 'if the results count from 0, add --result-frame-numbers count0'
        elif self.frames == -1:
            found += 'if the ground truth counts from 0, add --frame-numbers count0'
        elif self.frames > 0 and all(r.last + count <= r.length for r in reaches):
            alone = f'--sequences {reaches[0].name} ' if whose else ''
            found += (
                f'add {alone}--frames {count + 1}- if they were tracked from frame '
                f'{count + 1} on, else number both from the same frame'
            )
        else:
            more = 'more' if self.frames > 0 else 'less'
            found += (
                'number both from the same frame; those of the results should be '
                f'{count} {more}'
            )
        return found


def _find_offset(
    sequences: list[Sequence], reaches: list[_Reach]
) -> tuple[str, list[str]]:
    """Find out whether results lie better on the objects some frames later or earlier.

    Returns:
        Why they are not to be scored, empty if there is no reason; and remarks.
    """
    own = [_find_own_offset(sequence) for sequence in sequences]
    tried = {-1, 1, *(offset.frames for offset in own)} - {0}
    common = max(
        (_Offset.of(sequences, frames, 16) for frames in tried),
        key=lambda offset: offset.gain,
    )
    if common.is_told and not common.worse:
        text = common.describe('', reaches)
        return (text, []) if common.is_wrong else ('', [text])
    refusals = [
        offset.describe(f' of {reach.name}', [reach])
        for offset, reach in zip(own, reaches, strict=True)
        if offset.is_wrong and offset.gain >= _FAR_BETTER
    ]
    return '; '.join(refusals[:_MOST_TEXTS]), []


def _find_own_offset(sequence: Sequence) -> _Offset:
    """Find the number of frames by which results of a sequence lie best on objects.

    It is looked for only where results are poor, or better one frame later or earlier.
    """
    hits, _, number = rate(sequence.gt, sequence.pred)

    def gain(frames: int, sample: int = 16) -> float:
        usual, moved = rate_moved(sequence, frames, sample)
        return float((moved - usual).mean()) if len(usual) else -1.0

    if hits >= 0.6 * number and max(gain(1), gain(-1)) < 0.005:
        return _Offset()
    best = max((sign * n for n in _OFFSETS for sign in (1, -1)), key=gain)
    nearest = max(
        (n for n in range(best - _NEAR, best + _NEAR + 1) if n),
        key=lambda n: gain(n, _EXACT),
    )
    return _Offset.of([sequence], nearest)


def _are_most(some: list[_Reach], of_all: list[_Reach]) -> bool:
    """Tell whether these are all sequences, or three of four and more."""
    return len(some) == len(of_all) or len(some) >= max(3, 0.75 * len(of_all))


def _may_be_right(reaches: list[_Reach]) -> bool:
    """Tell whether a tracker may have left out these frames of these sequences."""
    if all(r.ends_at_half or r.begins_at_half for r in reaches):
        return False
    if len(reaches) == 1:
        return reaches[0].outside < 0.5
    same_end = len({r.last for r in reaches}) == 1
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


def _say_short_truth(reaches: list[_Reach], whose: str) -> str:
    """Say that ground truth covers a part, and what scores that part."""
    first = reaches[0]
    spans = {(int(r.gt[0]), int(r.gt[-1])) for r in reaches}
    halves = {reach.has_half for reach in reaches}
    option = f'--frames {first.gt[0] if first.comes_before else 1}-{first.gt[-1]}'
    if len(halves) == 1 and halves != {''}:
        option = f'--half {halves.pop()}'
    elif len(spans) > 1:
        option = f'--sequences {first.name} {option}, and the like for the others'
    if whose.startswith('some'):
        option = f'--sequences {first.name} {option}, and score the others apart'
    return (
        f'the ground truth covers a part of {whose} ({first.name}: frames '
        f'{first.gt[0]} to {first.gt[-1]}, results {first.first} to {first.last}): '
        'name the whole ground truth (--gt-file if it is in the same folder), or add '
        f'{option}'
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
    whose: str = '',
) -> str:
    """Look for other frame numbers or ground truth that fit far better.

    Args:
        sequences: What is to be scored.
        reaches: How far their results reach.
        fit: The share of the results that meet an object as they are numbered.
        others: Reads other ground truth texts.
        whose: Name of the sequence, if the others are numbered in another way.

    Returns:
        What fits, and the option for it; empty if nothing does.
    """
    found: list[tuple[float, str, str, bool]] = []

    def try_out(
        what: str, option: str, changed: list[Sequence], of_all: bool = True
    ) -> None:
        found.append((rate_all(changed), what, option, of_all))

    pairs = list(zip(sequences, reaches, strict=True))
    if all(reach.last <= reach.second_half for reach in reaches):
        shifted = [
            replace(s, pred=_shift(s.pred, half_length(r.length))) for s, r in pairs
        ]
        try_out('the second half, counted from 1', '--half second', shifted)
    if all(reach.last <= reach.second_half + 1 for reach in reaches):
        shifted = [replace(s, pred=_shift(s.pred, r.length // 2)) for s, r in pairs]
        if rate_all(shifted) > max((share for share, *_ in found), default=0) + 0.02:
            what = 'the second half of a cut at L // 2 frames, counted from 1'
            option = f'--frames {reaches[0].length // 2 + 1}-{reaches[0].length}'
            try_out(what, option, shifted, len({r.length for r in reaches}) == 1)
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
    if fit < 0.5 and max((share for share, *_ in found), default=0) < 0.8:
        shifts = [_find_shift(sequence) for sequence in sequences[:_SHIFTED]]
        shown = sequences[:_SHIFTED]
        moved = [
            replace(s, pred=_shift(s.pred, shift))
            for s, shift in zip(shown, shifts, strict=True)
        ]
        first = 1 + shifts[0]
        alike = len(set(shifts)) == 1
        last = max(last_frame(s.pred) for s in (moved if alike else moved[:1]))
        if all(shifts):
            try_out(
                f'frames {first} to {last}', f'--frames {first}-{last}', moved, alike
            )
    found = [other for other in found if is_clear(other[0], fit)]
    if not found:
        return ''
    most = max(share for share, *_ in found)
    near = [other for other in found if other[0] >= most - 0.02]
    near = [other for other in near if other[3]] or near[:1]
    best = near[0]
    options = ' or '.join(option for _, _, option, _ in near[:_MOST_TEXTS])
    if whose:
        options = f'--sequences {whose} {options}, and score the others apart'
    elif not best[3]:
        options = (
            f'--sequences {reaches[0].name} {best[2]}, and the like for the others'
        )
    return (
        f'results of {whose or _all_of(reaches)} fit {best[1]} ({best[0]:.0%} of the '
        f'boxes meet an object, {fit:.0%} as they are numbered): add {options}'
    )


def _find_odd(
    sequences: list[Sequence],
    reaches: list[_Reach],
    others: Callable[[], dict[str, dict[str, Tracks]]],
) -> str:
    """Look for single sequences whose results are numbered in another way.

    Returns:
        Which, and what fits them; empty if there are none.
    """
    texts = []
    for sequence, reach in zip(sequences, reaches, strict=True):
        if len(sequences) == 1 or len(sequence.pred) < _FEW_ROWS:
            continue
        fit = rate_all([sequence])
        if fit < 0.6:
            texts.append(_find_better([sequence], [reach], fit, others, reach.name))
    return '; '.join(list(filter(None, texts))[:_MOST_TEXTS])


def _find_shift(sequence: Sequence) -> int:
    """Find the number of frames by which results have to move on to fit best."""
    most = sequence.num_frames - last_frame(sequence.pred)

    def overlap(shift: int, sample: int = 8) -> float:
        return rate(sequence.gt, _shift(sequence.pred, shift), sample)[1]

    best = max(range(max(most, 0) + 1), key=overlap)
    around = range(max(best - _NEAR, 0), min(best + _NEAR, max(most, 0)) + 1)
    return max(around, key=lambda shift: overlap(shift, _EXACT))


def _shift(tracks: Tracks, frames: int, factor: int = 1) -> Tracks:
    return replace(tracks, frame=tracks.frame * factor + frames)


def find_swaps(sequences: SequenceOf[Sequence]) -> tuple[str, list[str]]:
    """Find results that fit the ground truth of another sequence far better.

    Returns:
        Why they are not to be scored, empty if there is no reason; and remarks.
    """
    # Of a few classes in a frame, most results meet nothing.
    whole = [s for s in sequences if len(s.pred) and s.partial is None]
    fits = [(rate_all([sequence]), sequence) for sequence in whole]
    poor = [(fit, sequence) for fit, sequence in fits if fit < 0.3]
    # All pairs of many sequences would take minutes; where names are mixed up, a part
    # of the sequences shows it.
    most = max(_MOST_PAIRS // len(sequences), 1) if poor else 0
    chosen = np.linspace(0, len(poor) - 1, min(most, len(poor))).round().astype(int)
    found: list[tuple[float, float, str]] = []
    for fit, sequence in (poor[i] for i in chosen):
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


def find_apart(sequences: SequenceOf[Sequence]) -> tuple[str, list[str]]:
    """Ask whether both sides have frames of one extent that lies apart.

    Where nothing is known of the frames, a side that counts from 0 without a frame 0,
    or from the first frame of a cut-out, looks like any other. Boxes that move overlap
    less then.

    Args:
        sequences: What is to be scored, as it is numbered.

    Returns:
        Why they are not to be scored, empty if they are; and no remarks.
    """
    filled = [s for s in sequences if len(s.gt) and len(s.pred)]
    ends = [
        (int(end(s.gt.frame)), int(end(s.pred.frame)))
        for s in filled
        for end in (np.min, np.max)
    ]
    apart = {gt - pred for gt, pred in ends}
    if len(apart) == 1 and (shift := apart.pop()):
        rated = [rate_moved(sequence, shift) for sequence in filled]
        usual, moved = (np.concatenate(side) for side in zip(*rated, strict=True))
        if len(usual) >= _FEW_ROWS and moved.mean() > usual.mean():
            (gt_first, first), (gt_last, last) = ends[:2]
            return (
                f'{filled[0].name}: the ground truth has the frames {gt_first} to '
                f'{gt_last}, the results {first} to {last}, as if one of them did not '
                f'count from the first frame; and so in all {len(filled)} sequences. '
                'Number both the same way, or put the images or seqinfo.ini next to gt'
            ), []
    return '', []
