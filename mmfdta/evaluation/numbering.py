# Copyright (c) mmfdta authors.
"""Frame numbers of ground truth and results, by the rule of the data sets.

Each side is read in its own way, the same for all of its sequences: results of
``mmfdta`` count the images from 1, whatever the ground truth does.
"""

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace

import numpy as np

from mmfdta.structures.frames import (
    AmbiguousFrames,
    SequenceFrames,
    decide_frame_numbers,
)
from mmfdta.structures.mot_text import ScannedText
from mmfdta.structures.tracks import Sequence

from .parts import rate_moved

# Fewest boxes that tell a shift.
_FEWEST_BOXES = 20
_MOST_REMARKS = 3


@dataclass(frozen=True)
class ScannedSequence:
    """Both texts of a sequence, as they are numbered.

    Attributes:
        name: Name of the sequence.
        gt: The ground truth.
        pred: The result.
        frames: What is known of its frames; None if nothing is.
    """

    name: str
    gt: ScannedText
    pred: ScannedText
    frames: SequenceFrames | None = None


def number_sequences(
    scanned: SequenceOf[ScannedSequence],
    frame_numbers: str = 'auto',
    result_frame_numbers: str = 'auto',
) -> tuple[list[Sequence], list[str]]:
    """Place the rows of both sides on frames from 1 to the length of each sequence.

    Args:
        scanned: All sequences that are scored.
        frame_numbers: How frames of the ground truth are read, see
            :mod:`mmfdta.structures.frames`; also those of results that can be read in
            several ways.
        result_frame_numbers: How those of results are read.

    Returns:
        The sequences, and remarks for the user.

    Raises:
        ValueError: If a row of either side has no frame, or could have two.
    """
    frames = _complete_frames(scanned)
    truths = [(f, s.gt) for f, s in zip(frames, scanned, strict=True)]
    results = [(f, s.pred) for f, s in zip(frames, scanned, strict=True)]
    truth = decide_frame_numbers(truths, frame_numbers)
    option = '--result-frame-numbers names, count or count0'
    try:
        result = decide_frame_numbers(
            results, result_frame_numbers, option, from_zero=truth.first == 0
        )
    except AmbiguousFrames:
        if frame_numbers == 'auto':
            raise
        result = decide_frame_numbers(results, frame_numbers)
    sequences = [
        Sequence(
            s.name,
            f.length,
            replace(s.gt.tracks, frame=truth.place(f, s.gt)),
            replace(s.pred.tracks, frame=result.place(f, s.pred)),
        )
        for f, s in zip(frames, scanned, strict=True)
    ]
    remarks = [remark for f in frames for remark in f.remarks]
    if len(remarks) > _MOST_REMARKS:
        more = len(remarks) - _MOST_REMARKS
        remarks[_MOST_REMARKS:] = [
            f'{more} more such remarks on images and seqinfo.ini'
        ]
    for side, decided in (('ground truth', truth), ('results', result)):
        if decided.remark:
            remarks.append(f'{side}: {decided.remark}')
    return sequences, remarks


def _complete_frames(scanned: SequenceOf[ScannedSequence]) -> list[SequenceFrames]:
    """Let sequences of unknown length end with the last frame of either text.

    Results have no frames that the ground truth does not begin with: where they count
    from 0 and it does not, they may not reach its last frame.
    """
    gt_zero = any((s.gt.tracks.frame == 0).any() for s in scanned)
    pred_zero = gt_zero and any((s.pred.tracks.frame == 0).any() for s in scanned)
    return [
        s.frames
        or SequenceFrames.of_length(
            '',
            max(
                int(s.gt.tracks.frame.max(initial=1 - gt_zero)) + gt_zero,
                int(s.pred.tracks.frame.max(initial=1 - pred_zero)) + pred_zero,
            ),
        )
        for s in scanned
    ]


def find_shift(sequences: SequenceOf[Sequence]) -> tuple[str, list[str]]:
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
        if len(usual) >= _FEWEST_BOXES and moved.mean() > usual.mean():
            (gt_first, first), (gt_last, last) = ends[:2]
            return (
                f'{filled[0].name}: the ground truth has the frames {gt_first} to '
                f'{gt_last}, the results {first} to {last}, as if one of them did not '
                f'count from the first frame; and so in all {len(filled)} sequences. '
                'Number both alike, or lay the images or seqinfo.ini beside gt'
            ), []
    return '', []
