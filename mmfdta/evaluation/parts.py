# Copyright (c) mmfdta authors.
"""Parts of sequences: halves and ranges of frames.

The halves are those of ByteTrack and MMDetection for MOT17, see
:func:`mmfdta.structures.frames.half_length`.
"""

import re
from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace

import numpy as np

from mmfdta.structures.frames import half_length
from mmfdta.structures.tracks import Sequence, Tracks

from .matching import find_overlaps

# By how much more of the boxes must meet an object under another reading.
_CLEAR = 0.2
# Frames of a sequence that are looked at to tell how well two sides fit.
_SAMPLE = 40


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

    @property
    def title(self) -> str:
        """What it is called in a sentence."""
        if self.half:
            return f'the {self.half} half'
        step = f', one in {self.step}' if self.step > 1 else ''
        return f'frames {self.first} to {self.last or "the last"}{step}'

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


def cut_tracks(tracks: Tracks, frames: range) -> Tracks:
    """Keep the rows of some frames, counted from 1."""
    place = tracks.frame - frames.start
    inside = (place >= 0) & (tracks.frame < frames.stop) & (place % frames.step == 0)
    kept = tracks.select(inside)
    return replace(kept, frame=place[inside] // frames.step + 1)


def cut_sequences(
    sequences: SequenceOf[Sequence],
    part: Part,
    is_cut: bool = False,
    like: SequenceOf[Sequence] | None = None,
) -> tuple[list[Sequence], list[str]]:
    """Cut a part out of sequences.

    Results may count from the first frame of the sequence or of the part, all in the
    same way; which is told by their frames, else by how well they fit.

    Args:
        sequences: The whole.
        part: What is cut out.
        is_cut: The ground truth holds the part only, counted from 1.
        like: The same sequences with the results that tell how all count; None: those
            that are cut.

    Returns:
        The parts, and remarks.

    Raises:
        ValueError: If the part is in no frame of a sequence, or without any result.
    """
    whole, counted = _cut_both_ways(sequences, part, is_cut)
    if _count_from_part(sequences if like is None else like, part, is_cut):
        return counted, [f'results count from the first frame of {part.title}']
    if like is not None:
        return whole, []
    given = sum(len(sequence.pred) for sequence in sequences)
    if given and not any(len(cut.pred) for cut in whole):
        first = sequences[0]
        raise ValueError(
            f'found no results in {part.title}, those of {first.name} are of frames '
            f'{int(first.pred.frame.min(initial=last_frame(first.pred)))} to '
            f'{last_frame(first.pred)} of {first.num_frames}; if they are of another '
            'part, name it with --frames'
        )
    remarks = []
    for cut, own in zip(whole, counted, strict=True):
        if not len(own.pred) or len(cut.pred):
            continue
        if rate_all([own]) >= 0.5:
            raise ValueError(
                f'results of {cut.name} count from the first frame of {part.title}, '
                'those of other sequences from the first frame of the sequence; '
                'number them in one way, or score them apart with --sequences'
            )
        remarks.append(f'{cut.name}: no results in {part.title}')
    if given and _is_shifted(sequences, part):
        remarks.append('results count from the first frame of the sequence')
    return whole, remarks


def _cut_both_ways(
    sequences: SequenceOf[Sequence], part: Part, is_cut: bool
) -> tuple[list[Sequence], list[Sequence]]:
    """Cut sequences whose results count from their first frame, or from the part's."""
    whole = []
    for sequence in sequences:
        span = part.frames(sequence)
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
    return whole, counted


def _is_shifted(sequences: SequenceOf[Sequence], part: Part) -> bool:
    """Tell whether frames of the part have other numbers than in the sequence."""
    spans = [part.frames(sequence) for sequence in sequences]
    return any(span.start > 1 or span.step > 1 for span in spans)


def _count_from_part(sequences: SequenceOf[Sequence], part: Part, is_cut: bool) -> bool:
    """Tell whether results count from the first frame of a part."""
    whole, counted = _cut_both_ways(sequences, part, is_cut)
    if not any(len(sequence.pred) for sequence in sequences):
        return False
    if not all(last_frame(cut.pred) <= cut.num_frames for cut in counted):
        return False
    if not _is_shifted(sequences, part):
        return False
    left = any(len(cut.pred) for cut in whole)
    return not left or rate_all(counted) > rate_all(whole)


def recognise_half(
    sequences: SequenceOf[Sequence], gt_file: str, asked: Part | None = None
) -> tuple[Part, bool] | None:
    """Tell which half the ground truth of all sequences is of.

    Where the name of the texts says nothing of a half, objects that are in a half only
    are no proof: results have to lie better on them under that reading.

    Args:
        sequences: As they were read, of whole length.
        gt_file: Name of the ground truth texts.
        asked: The part that is asked for.

    Returns:
        The half, and whether its frames count from 1 (``gt_val_half.txt`` of
        ByteTrack) instead of from the first frame of the sequence
        (``gt_half-val.txt`` of MMDetection). None if it is of no half.
    """
    found = _half_by_frames(sequences, gt_file)
    if found is None or 'half' in gt_file.lower():
        return found
    return found if _fits_better(sequences, *found, asked) else None


def _half_by_frames(
    sequences: SequenceOf[Sequence], gt_file: str
) -> tuple[Part, bool] | None:
    """Tell which half ground truth may be of by its frames, see `recognise_half`."""
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


def _fits_better(
    sequences: SequenceOf[Sequence], half: Part, is_cut: bool, asked: Part | None
) -> bool:
    """Tell whether results lie far better on ground truth that is taken for a half."""
    try:
        cut, _ = cut_sequences(sequences, half, is_cut)
    except ValueError:  # no results in it
        return False
    if asked is not None and asked.half:
        try:
            usual, _ = cut_sequences(sequences, asked)
        except ValueError:
            usual = []
    else:
        # The same rows as they are numbered: those of the other half tell nothing.
        usual = [
            sequence
            if len(of.pred) == len(sequence.pred)
            else replace(
                sequence,
                pred=sequence.pred.select(
                    np.isin(sequence.pred.frame, half.frames(sequence))
                ),
            )
            for sequence, of in zip(sequences, cut, strict=True)
        ]
    return is_clear(rate_all(cut), rate_all(usual))


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
    if is_clear(share, usual):
        raise ValueError(
            f'{part}: the results fit the {other.half} half ({share:.0%} of the boxes '
            f'meet an object, {usual:.0%} in the {part.half}); add {other}'
        )


def last_frame(tracks: Tracks) -> int:
    """Return the last frame with a row, 0 if there is none."""
    return int(tracks.frame.max(initial=0))


def rate(gt: Tracks, pred: Tracks, sample: int = _SAMPLE) -> tuple[int, float, int]:
    """Measure how well results lie on objects, in a sample of their frames.

    Args:
        gt: The ground truth.
        pred: The results.
        sample: The number of frames to look at.

    Returns:
        The number of results that overlap an object by half, the sum over the
        results of the IoU with the nearest object, and the number of results.
    """
    chosen = _sample_of(np.unique(pred.frame), sample)
    gt = gt.select(np.isin(gt.frame, chosen))
    nearest = _nearest_overlaps(gt, pred.select(np.isin(pred.frame, chosen)))
    return int((nearest >= 0.5).sum()), float(nearest.sum()), len(nearest)


def rate_moved(
    sequence: Sequence, shift: int, sample: int = _SAMPLE
) -> tuple[np.ndarray, np.ndarray]:
    """Measure how well results lie on objects as they are, and some frames later.

    Args:
        sequence: What is to be scored.
        shift: The number of frames by which results are moved; earlier if negative.
        sample: The number of frames to look at, all of them annotated in both ways.

    Returns:
        IoU with the nearest object, in both ways, of the same results. Empty if less
        than half of the frames can be compared.
    """
    gt, pred = sequence.gt, sequence.pred
    known, frames = np.unique(gt.frame), np.unique(pred.frame)
    shared = frames[np.isin(frames, known) & np.isin(frames + shift, known)]
    if len(shared) < 0.5 * min(len(known), len(frames)):
        shared = shared[:0]
    shared = _sample_of(shared, sample)
    pred = pred.select(np.isin(pred.frame, shared))
    usual, moved = (
        _nearest_overlaps(
            gt.select(np.isin(gt.frame, shared + by)),
            replace(pred, frame=pred.frame + by),
        )
        for by in (0, shift)
    )
    return usual, moved


def _sample_of(frames: np.ndarray, number: int) -> np.ndarray:
    """Choose frames at about equal distances."""
    if len(frames) <= number:
        return frames
    return frames[np.linspace(0, len(frames) - 1, number).round().astype(np.int64)]


def _nearest_overlaps(gt: Tracks, pred: Tracks) -> np.ndarray:
    """Return the IoU of each result with the nearest object, in order of frames."""
    pred = pred.in_frame_order()
    length = max(last_frame(gt), last_frame(pred), 1)
    overlaps = find_overlaps(Sequence('', length, gt.in_frame_order(), pred))
    nearest = np.zeros(len(pred))
    np.maximum.at(nearest, overlaps.pred_row, overlaps.iou)
    return nearest


def rate_all(sequences: Iterable[Sequence]) -> float:
    """Return the share of the results of all sequences that meet an object."""
    counts = [rate(sequence.gt, sequence.pred) for sequence in sequences]
    return sum(hits for hits, _, _ in counts) / max(sum(n for _, _, n in counts), 1)


def is_clear(share: float, usual: float) -> bool:
    """Tell whether a reading fits far better than the usual one."""
    far = share >= usual + _CLEAR
    half_as_far = share >= usual + _CLEAR / 2 and 1 - share <= (1 - usual) / 3
    return share >= 0.4 and (far or half_as_far)
