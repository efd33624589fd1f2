# Copyright (c) mmfdta authors.
"""Frame numbers of ground truth and results, by the rule of the data sets.

Each side is read in its own way, the same for all of its sequences: results of
``mmfdta`` count the images from 1, whatever the ground truth does.
"""

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace

from mmfdta.structures.frames import (
    AmbiguousFrames,
    FrameNumbers,
    SequenceFrames,
    decide_frame_numbers,
    length_of_text,
)
from mmfdta.structures.mot_text import ScannedText
from mmfdta.structures.tracks import Sequence

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
    like: SequenceOf[ScannedSequence] | None = None,
) -> tuple[list[Sequence], list[str]]:
    """Place the rows of both sides on frames from 1 to the length of each sequence.

    Args:
        scanned: All sequences that are scored.
        frame_numbers: How frames of the ground truth are read, see
            :mod:`mmfdta.structures.frames`; also those of results that can be read in
            several ways.
        result_frame_numbers: How those of results are read.
        like: The same sequences with the results that decide about lengths and
            readings; None: those that are scored.

    Returns:
        The sequences, and remarks for the user.

    Raises:
        ValueError: If a row of either side has no frame, or could have two.
    """
    deciding = scanned if like is None else like
    frames = _complete_frames(deciding, frame_numbers, result_frame_numbers)
    truths = [(f, s.gt) for f, s in zip(frames, scanned, strict=True)]
    results = [(f, s.pred) for f, s in zip(frames, deciding, strict=True)]
    truth = decide_frame_numbers(truths, frame_numbers)
    options = frame_numbers, result_frame_numbers, truth.first == 0
    result = _decide_results(results, *options)
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
    if like is not None and any(len(s.pred) for s in scanned):
        own = _complete_frames(scanned, frame_numbers, result_frame_numbers)
        texts = [(f, s.pred) for f, s in zip(own, scanned, strict=True)]
        try:
            choice = _decide_results(texts, *options).choice
        except ValueError:  # none fits, or several
            choice = ''
        if choice != result.choice:
            remarks.append(
                'frames after are read as those before; mmfdta evaluate needs '
                f'--result-frame-numbers {result.choice} to read them so'
            )
    return sequences, remarks


def _decide_results(
    texts: list[tuple[SequenceFrames, ScannedText]],
    frame_numbers: str,
    result_frame_numbers: str,
    from_zero: bool,
) -> FrameNumbers:
    """Decide how the frames of results are read, see `number_sequences`."""
    option = '--result-frame-numbers names, count or count0'
    try:
        return decide_frame_numbers(
            texts, result_frame_numbers, option, from_zero=from_zero
        )
    except AmbiguousFrames:
        if frame_numbers == 'auto':
            raise
        return decide_frame_numbers(texts, frame_numbers)


def _complete_frames(
    scanned: SequenceOf[ScannedSequence], frame_numbers: str, result_frame_numbers: str
) -> list[SequenceFrames]:
    """Let sequences of unknown length end with the last frame of either text.

    Results have no frames that the ground truth does not begin with: where they count
    from 0 and it does not, they may not reach its last frame.
    """
    gt_zero, pred_zero = (
        any((text.tracks.frame == 0).any() for text in texts)
        for texts in ([s.gt for s in scanned], [s.pred for s in scanned])
    )
    gt_zero = gt_zero or frame_numbers == 'count0'
    pred_zero = result_frame_numbers == 'count0' or (gt_zero and pred_zero)
    return [
        s.frames
        or SequenceFrames.of_length(
            '',
            max(
                length_of_text(s.gt.tracks.frame, gt_zero),
                length_of_text(s.pred.tracks.frame, pred_zero),
            ),
        )
        for s in scanned
    ]
