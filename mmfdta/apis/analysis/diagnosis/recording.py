# Copyright (c) mmfdta authors.
"""What one run of a tracker leaves behind, next to the ground truth.

A run is recorded once; everything that the diagnosis says of words, births, misses and
switches is computed from it. Recording changes nothing: the tracks are those of a test.
"""

from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmfdta.evaluation.clear import match_clear
from mmfdta.evaluation.matching import EPS, find_overlaps, match_frames
from mmfdta.evaluation.records import make_record
from mmfdta.evaluation.scores import select_together
from mmfdta.models.trackers import FDTATracker, new_tracker
from mmfdta.models.trackers.assignment import AssociatedFrame, admissible_scores
from mmfdta.structures.tracks import Sequence, Tracks

from ...detection_store import SequenceDetections
from ...evaluation_data import EvaluationData
from ...sequence_loop import SequenceLoop

IOU_THR = 0.5 - EPS
"""Overlap from which a box may be an object; that of CLEAR."""
# More than any overlap: a detection that took part goes before one that did not.
_BONUS = 2.0
_SETTINGS = (
    *('num_id_vocabulary', 'miss_tolerance', 'det_thr', 'newborn_thr', 'id_thr'),
    *('area_thr', 'protocol', 'overflow', 'class_aware'),
)


@dataclass(frozen=True)
class WordRecord:
    """What FDTA's tracker did with its K words in the L frames of a sequence.

    N detections took part, see :class:`FDTATracker`; they are ordered by frame, within
    a frame as the detector gave them.

    Attributes:
        row: int64 (N,), their rows of :attr:`SequenceRun.detections`, ascending.
        scores: float32 (N, K + 1), ID scores as the protocol saw them, the last column
            newborn; NaN in frames without live trajectories, where nothing is asked.
        given: int64 (N,), words that the protocol gave, K for none.
        word: int64 (N,), words after newborns were let in, K for none.
        identity: int64 (N,), identities after the frame, -1: left out.
        live: bool (L, K), words of the trajectories that were live before the frame.
        owner: int64 (L, K), identities that the words stood for before the frame, also
            of words that are live no more; -1 of words that were never lent.
        settings: Arguments of the tracker.
    """

    row: np.ndarray
    scores: np.ndarray
    given: np.ndarray
    word: np.ndarray
    identity: np.ndarray
    live: np.ndarray
    owner: np.ndarray
    settings: dict[str, Any]

    @property
    def none(self) -> int:
        """K, what stands for newborn and for no word."""
        return self.live.shape[1]


@dataclass(frozen=True)
class SequenceRun:
    """What a tracker found in a sequence of L frames.

    Attributes:
        name: Name of the sequence.
        num_frames: L.
        detections: All M detections above `lowest_score` in frame order, within a frame
            as the tracker got them; the identity is the row. None of a model that does
            not tell its detections.
        lowest_score: Score that a detection must exceed to be known here at all.
        tracks: The R rows of the result in frame order, as its text has them.
        track_row: int64 (R,), the detection that each is; of a tracker without words
            the first one of the frame with the very box, -1 if there is none.
        words: What was done with words; None of a tracker without them.
    """

    name: str
    num_frames: int
    detections: Tracks | None
    lowest_score: float
    tracks: Tracks
    track_row: np.ndarray
    words: WordRecord | None


@dataclass(frozen=True)
class SequenceEvidence:
    """A run next to the ground truth, as it is scored.

    The matches of tracks are those of the CLEAR scores: their number is ``CLR_TP``, the
    switches among them are ``IDSW``. The object of a detection is: for one that is a
    track, the object that CLEAR matches the track with; of the others, what a
    one-to-one assignment gives them of the objects that CLEAR found no track for, by
    frame: first as many detections that took part as possible, then the largest sum of
    IoU. Both ask for an IoU of 0.5, and for the class where classes are scored
    one by one.

    Attributes:
        run: The run.
        truth: The G scored rows of the ground truth in frame order.
        objects: int64 (G,), number of the object of each row, from 0: identities of
            different classes are different objects where these are scored one by one.
        match_truth: int64 (P,), rows of `truth` that are matched, ascending by object's
            class, then in the order of time.
        match_track: int64 (P,), rows of the run's tracks, their matches.
        match_last: int64 (P,), the last match of the same object, one of the P, or -1.
        is_switch: bool (P,), the match is a switch: the last one was with another
            identity.
        counted: bool (R,), rows of the tracks that are scored.
        object_row: int64 (M,), row of `truth` that each detection stands for, or -1.
        near: int64 (A, 2), all pairs of a detection and a row of `truth`, of any
            class, with an IoU of 0.5.
        by_class: Classes are scored one by one.
    """

    run: SequenceRun
    truth: Tracks
    objects: np.ndarray
    match_truth: np.ndarray
    match_track: np.ndarray
    match_last: np.ndarray
    is_switch: np.ndarray
    counted: np.ndarray
    object_row: np.ndarray
    near: np.ndarray
    by_class: bool

    @property
    def found(self) -> np.ndarray:
        """Whether CLEAR matches the rows of `truth` with a track, bool (G,)."""
        found = np.zeros(len(self.truth), dtype=bool)
        found[self.match_truth] = True
        return found


# ------------------------------------------------------------------------- recording
def record_evidence(
    loop: SequenceLoop,
    data: EvaluationData,
    known: SequenceOf[SequenceDetections] | None = None,
    tracker: Any = None,
    on_sequence: Callable[[], None] | None = None,
) -> list[SequenceEvidence]:
    """Track all sequences once and put the ground truth next to what was found.

    Args:
        loop: A tracker on the data.
        data: The data, with ground truth.
        known: What the detector found in each sequence; None takes it from the
            loop's store, or detects.
        tracker: See :meth:`SequenceLoop.track`.
        on_sequence: Called after each sequence.

    Returns:
        For each sequence, in the order of the data.

    Raises:
        ValueError: If there is no ground truth, or the model does not track.
    """
    _ = data.truths  # before the work, not after it
    runs = []
    for index in range(len(data.sequences)):
        found = loop.reads(index) if known is None else known[index]
        runs.append(record_sequence(loop, data, index, found, tracker))
        if on_sequence is not None:
            on_sequence()
    return find_evidence(runs, data)


def record_sequence(
    loop: SequenceLoop,
    data: EvaluationData,
    index: int,
    known: SequenceDetections | None = None,
    tracker: Any = None,
) -> SequenceRun:
    """Track a sequence and note what the tracker decided.

    Args:
        loop: A tracker on the data.
        data: Says which classes results have.
        index: Index of the sequence.
        known: What the detector found in it; None detects.
        tracker: See :meth:`SequenceLoop.track`; None takes one like the model's.

    Raises:
        ValueError: If the model does not track.
    """
    present = getattr(loop.model, 'tracker', None)
    if tracker is None and isinstance(present, FDTATracker):
        tracker = new_tracker(loop.model)
    seen: list[AssociatedFrame] = []
    has_words = isinstance(tracker, FDTATracker)
    if has_words:
        tracker.observer = seen.append
    found, tracks = [], []
    try:
        for frame, _ in loop.track(index, known, tracker):
            tracks.append(make_record(frame, data.classes.of_benchmark).pred)
            number = int(frame.frame_id) + 1
            if 'pred_instances' in frame:
                shown = _as_tracks(frame.pred_instances, number)
                # Models that only predict show all that they have.
                found.append(shown.select(shown.score > loop.lowest_score))
    finally:
        if has_words:
            tracker.observer = None
    detections = Tracks.concatenate(found) if found else None
    if detections is not None:
        detections = replace(detections, identity=np.arange(len(detections)))
    joined, words = Tracks.concatenate(tracks), None
    if has_words:
        words = _join_frames(seen, found, tracker)
        track_row = words.row[words.identity >= 0]
    else:
        track_row = _rows_of_boxes(joined, detections)
    sequence = data.sequences[index]
    return SequenceRun(
        name=sequence.name,
        num_frames=len(sequence),
        detections=detections,
        lowest_score=loop.lowest_score,
        tracks=joined,
        track_row=track_row,
        words=words,
    )


def _as_tracks(instances: Any, frame: int) -> Tracks:
    """Take boxes, scores and labels of a frame's detections."""
    xywh = instances.bboxes.double().cpu().numpy().reshape(-1, 4).copy()
    xywh[:, 2:] -= xywh[:, :2]
    return Tracks.create(
        np.full(len(xywh), frame),
        np.arange(len(xywh)),
        xywh,
        instances.scores.double().cpu().numpy(),
        instances.labels.cpu().numpy(),
    )


def _rows_of_boxes(tracks: Tracks, detections: Tracks | None) -> np.ndarray:
    """Find the detections (R,) with the boxes of tracks, as text has them; -1: none."""
    if detections is None:
        return np.full(len(tracks), -1)
    sides = detections.rounded(), tracks
    boxes = np.concatenate([np.c_[side.frame, side.xywh] for side in sides])
    box = np.unique(boxes, axis=0, return_inverse=True)[1].reshape(-1)
    row = np.full(len(boxes), -1)
    row[box[: len(detections)][::-1]] = np.arange(len(detections))[::-1]
    return row[box[len(detections) :]]


def _join_frames(
    seen: list[AssociatedFrame], found: list[Tracks], tracker: FDTATracker
) -> WordRecord:
    """Put what was decided in the frames of a sequence behind one another."""
    starts = np.cumsum([0, *map(len, found)])
    scores = []
    for frame, detections in zip(seen, found, strict=True):
        table = frame.id_scores
        if table is None:
            shape = len(frame.rows), tracker.num_id_vocabulary + 1
            table = np.full(shape, np.nan, dtype=np.float32)
        elif tracker.class_aware:
            labels = detections.label[frame.rows]
            table = admissible_scores(table, labels, frame.classes)
        scores.append(table)
    return WordRecord(
        row=np.concatenate(
            [start + frame.rows for start, frame in zip(starts, seen, strict=False)]
        ),
        scores=np.concatenate(scores),
        given=np.concatenate([frame.words for frame in seen]),
        word=np.concatenate([frame.named.words for frame in seen]),
        identity=np.concatenate([frame.named.identities for frame in seen]),
        live=np.stack([frame.live for frame in seen]),
        owner=np.stack([frame.owners for frame in seen]),
        settings={name: getattr(tracker, name) for name in _SETTINGS},
    )


# ---------------------------------------------------------- next to the ground truth
def find_evidence(
    runs: SequenceOf[SequenceRun], data: EvaluationData
) -> list[SequenceEvidence]:
    """Put the ground truth next to the runs of all sequences.

    Args:
        runs: In the order of the data: how classes are read depends on all of them.
        data: The data, with ground truth.

    Raises:
        ValueError: If tracks cannot be scored, or there is no ground truth.
    """
    # Rules only ask whether column 7 is 0, and nothing of a result's score: these
    # columns carry the numbers of the rows, from 1, through the rules.
    truths = [
        replace(
            truth, score=np.where(truth.score != 0, np.arange(1, len(truth) + 1), 0)
        )
        for truth in data.truths
    ]
    tracks = [
        replace(run.tracks, score=np.arange(1, len(run.tracks) + 1)) for run in runs
    ]
    selected = select_together(data.pair(tracks, truths), data.settings)
    by_class = bool(data.settings.numbers)
    return [
        _beside_truth(run, truth, scored, by_class)
        for run, truth, scored in zip(runs, data.truths, selected, strict=True)
    ]


def _beside_truth(
    run: SequenceRun, truth: Tracks, scored: dict[str, Sequence], by_class: bool
) -> SequenceEvidence:
    """Match tracks as CLEAR does, class by class, and then the other detections."""
    raw_rows, objects, pairs = [], [], []
    num_objects = num_pairs = 0
    counted = np.zeros(len(run.tracks), dtype=bool)
    for sequence in scored.values():
        gt_rows, track_rows = (
            side.score.astype(np.int64) - 1 for side in (sequence.gt, sequence.pred)
        )
        counted[track_rows] = True
        overlaps = find_overlaps(sequence)
        raw_rows.append(gt_rows)
        objects.append(overlaps.gt.identity + num_objects)
        num_objects += overlaps.gt.num_ids
        matches = match_clear(overlaps)
        last = np.where(matches.last < 0, -1, matches.last + num_pairs)
        num_pairs += len(last)
        pairs.append(
            (
                gt_rows[overlaps.gt_row[matches.pair]],
                track_rows[overlaps.pred_row[matches.pair]],
                last,
                matches.is_switch,
            )
        )
    match_raw, match_track, match_last, is_switch = map(
        np.concatenate, zip(*pairs, strict=True)
    )
    rows, number = np.concatenate(raw_rows), np.concatenate(objects)
    order = np.lexsort((rows, truth.frame[rows]))
    rows = rows[order]
    place = np.full(len(truth), -1)
    place[rows] = np.arange(len(rows))
    evidence = SequenceEvidence(
        run=run,
        truth=truth.select(rows),
        objects=number[order],
        match_truth=place[match_raw],
        match_track=match_track,
        match_last=match_last,
        is_switch=is_switch,
        counted=counted,
        object_row=np.zeros(0, dtype=np.int64),
        near=np.zeros((0, 2), dtype=np.int64),
        by_class=by_class,
    )
    return evidence if run.detections is None else _match_detections(evidence)


def _match_detections(evidence: SequenceEvidence) -> SequenceEvidence:
    """Find the object of each detection, see :class:`SequenceEvidence`."""
    run, truth, detections = evidence.run, evidence.truth, evidence.run.detections
    assert detections is not None
    object_row = np.full(len(detections), -1)
    is_track = np.zeros(len(detections), dtype=bool)
    known = run.track_row >= 0
    is_track[run.track_row[known]] = True
    row = run.track_row[evidence.match_track]
    object_row[row[row >= 0]] = evidence.match_truth[row >= 0]
    took_part = np.zeros(len(detections), dtype=bool)
    took_part[slice(None) if run.words is None else run.words.row] = True

    pairs = find_overlaps(Sequence(run.name, run.num_frames, truth, detections))
    near = pairs.iou >= IOU_THR
    free = near & ~is_track[pairs.pred_row] & ~evidence.found[pairs.gt_row]
    if evidence.by_class:
        free &= detections.label[pairs.pred_row] == truth.label[pairs.gt_row]
    left = replace(
        pairs,
        gt_row=pairs.gt_row[free],
        pred_row=pairs.pred_row[free],
        iou=pairs.iou[free],
        share=pairs.share[free],
    )
    chosen = match_frames(left, left.iou + _BONUS * took_part[left.pred_row])
    object_row[left.pred_row[chosen]] = left.gt_row[chosen]
    return replace(
        evidence,
        object_row=object_row,
        near=np.stack([pairs.pred_row[near], pairs.gt_row[near]], axis=1),
    )
