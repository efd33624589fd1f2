# Copyright (c) mmfdta authors.
"""Parts of sequences: halves and ranges of frames, and results that cover a part only.

The halves are those of ByteTrack and MMDetection for MOT17: of L frames the first
L // 2 + 1, and the rest.
"""

import re
from collections.abc import Callable, Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace

import numpy as np

from mmfdta.structures.tracks import Sequence, Tracks

from .folders import name_some
from .matching import find_overlaps

# Share of the annotated frames, and number, that a tracker may find nothing in at
# either end.
_QUIET_SHARE, _QUIET_FRAMES = 0.1, 3
# Share of the annotated frames that results leave out before they count as a part.
_PART_SHARE = 0.25
# By how much more of the boxes must meet an object under another reading.
_CLEAR = 0.2
# Frames of a sequence that are looked at to tell how well two sides fit.
_SAMPLE = 40
_STEPS = range(2, 11)


@dataclass(frozen=True)
class Part:
    """Which frames of each sequence are scored.

    Attributes:
        half: ``first`` or ``second``; None takes the range.
        first: First frame of the range, from 1.
        last: Its last frame; None is that of the sequence.
        step: Distance of its frames.
    """

    half: str | None = None
    first: int = 1
    last: int | None = None
    step: int = 1

    @classmethod
    def parse(cls, text: str) -> 'Part':
        """Read ``all``, ``1-300``, ``301-`` or ``1-600/2``: first, last and step.

        Raises:
            ValueError: If it is none of these.
        """
        if text == 'all':
            return cls()
        found = re.fullmatch(r'(\d+)-(\d*)(?:/(\d+))?', text)
        numbers = [int(n) if n else None for n in found.groups()] if found else [0]
        first, last, step = [*numbers, None, None][:3]
        if not first or step == 0 or (last is not None and last < first):
            raise ValueError(
                f'found {text!r}, expected FIRST-LAST such as 1-300 or 301-, '
                'FIRST-LAST/STEP such as 1-600/2, or all'
            )
        return cls(first=first, last=last, step=step or 1)

    def __str__(self) -> str:
        if self.half:
            return f'--half {self.half}'
        if self == Part():
            return '--frames all'
        step = f'/{self.step}' if self.step > 1 else ''
        return f'--frames {self.first}-{self.last or ""}{step}'

    def frames(self, sequence: Sequence) -> range:
        """List the frames of a sequence that belong to the part.

        Raises:
            ValueError: If there are none.
        """
        length = sequence.num_frames
        if self.half is not None:
            middle = half_length(length)
            ends = {'first': (1, middle), 'second': (middle + 1, length)}
            found = range(ends[self.half][0], ends[self.half][1] + 1)
        else:
            found = range(self.first, min(self.last or length, length) + 1, self.step)
        if not found:
            raise ValueError(
                f'{sequence.name}: found {length} frames, none of which is in the '
                f'part of {self}'
            )
        return found


def half_length(length: int) -> int:
    """Return the number of frames of the first half of a sequence."""
    return length // 2 + 1


def cut_tracks(tracks: Tracks, frames: range) -> Tracks:
    """Keep the rows of some frames, counted from 1."""
    place = tracks.frame - frames.start
    inside = (place >= 0) & (tracks.frame < frames.stop) & (place % frames.step == 0)
    kept = tracks.select(inside)
    return replace(kept, frame=place[inside] // frames.step + 1)


def cut_sequences(
    sequences: SequenceOf[Sequence], part: Part, is_cut: bool = False
) -> tuple[list[Sequence], list[str]]:
    """Cut a part out of sequences.

    Results may count from the first frame of the sequence or of the part, all in the
    same way; which is told by their frames, else by how well they fit.

    Args:
        sequences: The whole.
        part: What is cut out.
        is_cut: The ground truth holds the part only, counted from 1.

    Returns:
        The parts, and remarks.

    Raises:
        ValueError: If the part is in no frame of a sequence, or without any result.
    """
    spans = [part.frames(sequence) for sequence in sequences]
    whole = []
    for sequence, span in zip(sequences, spans, strict=True):
        gt, ignored = sequence.gt, sequence.ignored
        if not is_cut:
            gt, ignored = cut_tracks(gt, span), cut_tracks(ignored, span)
        whole.append(
            replace(
                sequence,
                num_frames=len(span),
                gt=gt,
                pred=cut_tracks(sequence.pred, span),
                ignored=ignored,
            )
        )
    counted = [
        replace(cut, pred=sequence.pred)
        for cut, sequence in zip(whole, sequences, strict=True)
    ]
    given = sum(len(sequence.pred) for sequence in sequences)
    fits = all(last_frame(cut.pred) <= cut.num_frames for cut in counted)
    left = sum(len(cut.pred) for cut in whole)
    is_shifted = any(span.start > 1 or span.step > 1 for span in spans)
    if fits and is_shifted and given:
        if not left or rate_all(counted) > rate_all(whole):
            return counted, [f'results count from the first frame of the part ({part})']
    elif given and not left:
        raise ValueError(
            f'found no results in the part of {part}: those of {sequences[0].name} end '
            f'at frame {last_frame(sequences[0].pred)} of '
            f'{sequences[0].num_frames}'
        )
    remarks = [
        f'{cut.name}: no results in the part of {part}, where those of other sequences '
        'count from the first frame of the sequence'
        for cut, sequence in zip(whole, sequences, strict=True)
        if len(sequence.pred) and not len(cut.pred)
    ]
    if is_shifted and not remarks and given:
        remarks = ['results count from the first frame of the sequence']
    return whole, remarks


def recognise_half(
    sequences: SequenceOf[Sequence], gt_file: str
) -> tuple[Part, bool] | None:
    """Tell which half the ground truth of all sequences is of.

    Args:
        sequences: As they were read, of whole length.
        gt_file: Name of the ground truth texts.

    Returns:
        The half, and whether its frames count from 1 (``gt_val_half.txt`` of
        ByteTrack) instead of from the first frame of the sequence
        (``gt_half-val.txt`` of MMDetection). None if it is of no half.
    """
    held = [sequence for sequence in sequences if len(sequence.gt)]
    lengths = [sequence.num_frames for sequence in held]
    ends = [last_frame(sequence.gt) for sequence in held]
    middles = [half_length(length) for length in lengths]
    if not held:
        return None
    if all(s.gt.frame.min() > m for s, m in zip(held, middles, strict=True)):
        return Part(half='second'), False
    rests = [length - m for length, m in zip(lengths, middles, strict=True)]
    near = [end >= n - max(2, 0.05 * n) for end, n in zip(ends, rests, strict=True)]
    is_half = 'half' in gt_file.lower() or all(near)
    if not is_half or any(end > m for end, m in zip(ends, middles, strict=True)):
        return None
    fits_second = all(end <= n for end, n in zip(ends, rests, strict=True))
    if fits_second and not re.search('train|first', gt_file.lower()):
        return Part(half='second'), True
    return Part(half='first'), True


def refuse_other_half(
    sequences: SequenceOf[Sequence], cut: SequenceOf[Sequence], part: Part
) -> None:
    """Refuse results that fit the half that was not asked for.

    Args:
        sequences: The whole.
        cut: The half that was asked for.
        part: Which that is.

    Raises:
        ValueError: If the other half fits far better.
    """
    other = Part(half='first' if part.half == 'second' else 'second')
    spans = [other.frames(sequence) for sequence in sequences]
    counted = [
        replace(sequence, gt=cut_tracks(sequence.gt, span))
        for sequence, span in zip(sequences, spans, strict=True)
    ]
    usual, share = rate_all(cut), rate_all(counted)
    if _is_clear(share, usual):
        raise ValueError(
            f'{part}: the results fit the {other.half} half ({share:.0%} of the boxes '
            f'meet an object, {usual:.0%} in the {part.half}); add {other}'
        )


def last_frame(tracks: Tracks) -> int:
    """Return the last frame with a row, 0 if there is none."""
    return int(tracks.frame.max(initial=0))


def rate(gt: Tracks, pred: Tracks, sample: int = _SAMPLE) -> tuple[int, int]:
    """Count the results that overlap an object by half, in a sample of their frames.

    Args:
        gt: The ground truth.
        pred: The results.
        sample: The number of frames to look at.

    Returns:
        The results that do, and all that were looked at.
    """
    frames = np.unique(pred.frame)
    chosen = frames
    if len(frames) > sample:
        places = np.linspace(0, len(frames) - 1, sample).round().astype(np.int64)
        chosen = frames[places]
    gt = gt.select(np.isin(gt.frame, chosen))
    pred = pred.select(np.isin(pred.frame, chosen)).in_frame_order()
    overlaps = find_overlaps(Sequence('', int(frames.max(initial=1)), gt, pred))
    return len(np.unique(overlaps.pred_row[overlaps.iou >= 0.5])), len(pred)


def rate_all(sequences: Iterable[Sequence]) -> float:
    """Return the share of the results of all sequences that meet an object."""
    counts = [rate(sequence.gt, sequence.pred) for sequence in sequences]
    return sum(n for n, _ in counts) / max(sum(n for _, n in counts), 1)


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
        return middle < self.first <= middle + 1 + max(2, 0.05 * self.length)


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
            f'found no rows in the results of {name_some(empty)}; was the run broken '
            'off?'
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
    of_all = len(filled) in (len(cut), len(longer))
    fit = rate_all(filled)
    refusal = ''
    if of_all or fit < 0.6:
        refusal = _find_better(filled, reaches, fit, others)
    refusal = refusal or _find_step(reaches)
    if refusal:
        return refusal, remarks
    if len(cut) == len(filled):
        refusal = _say_part(reaches)
    elif len(longer) == len(filled):
        refusal = _say_short_truth(reaches)
    elif cut:
        names = [f'{reach.name} ({_span(reach)})' for reach in cut]
        remarks.append(
            f'results leave out annotated frames, which count as missed: '
            f'{name_some(names)}'
        )
    if refusal and _may_be_right(cut or longer):
        return '', [*remarks, refusal]
    return refusal, remarks


def _may_be_right(reaches: list[_Reach]) -> bool:
    """Tell whether a tracker may have left out these frames of these sequences."""
    if all(r.ends_at_half or r.begins_at_half for r in reaches):
        return False
    if len(reaches) == 1:
        (reach,) = reaches
        beyond = (reach.pred > reach.gt[-1]).mean()
        return bool(max(reach.outside, beyond) < 0.5)
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
    for option, texts in others().items():
        if all(sequence.name in texts for sequence in sequences):
            changed = [replace(s, gt=texts[s.name]) for s in sequences]
            try_out(f'{option.split()[-1]}', option, changed)
    for step in _STEPS:
        if all(0.6 * r.length <= r.last * step < r.length + step for r in reaches):
            spread = [
                replace(s, pred=_shift(s.pred, 1 - step, step)) for s in sequences
            ]
            what = f'one frame in {step}, counted from 1'
            try_out(what, f'--frames 1-/{step}', spread)
    if all(r.gt[-1] <= r.second_half < r.last for r in reaches):
        shifted = [replace(s, gt=_shift(s.gt, half_length(r.length))) for s, r in pairs]
        what = 'the whole, and the ground truth is of the second half, counted from 1'
        try_out(what, '--half second and name the whole ground truth', shifted)
    found = [other for other in found if _is_clear(other[0], fit)]
    if not found:
        return ''
    best = max(found)
    options = ' or '.join(
        option for share, _, option in found if share >= best[0] - 0.05
    )
    return (
        f'results of {_all_of(reaches)} fit {best[1]} ({best[0]:.0%} of the boxes meet '
        f'an object, {fit:.0%} as they are numbered): add {options}'
    )


def _shift(tracks: Tracks, frames: int, factor: int = 1) -> Tracks:
    return replace(tracks, frame=tracks.frame * factor + frames)


def _is_clear(share: float, usual: float) -> bool:
    """Tell whether a reading fits far better than the usual one."""
    return share >= usual + _CLEAR or (
        share >= usual + _CLEAR / 2 and 1 - share <= (1 - usual) / 3
    )


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
        return f'{"; ".join(texts[:3])}: are the files named after the right ones?', []
    return '', texts
