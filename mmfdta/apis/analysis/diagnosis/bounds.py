# Copyright (c) mmfdta authors.
"""How good a tracker could be if the ground truth did a part of its work.

Each bound replaces one part by the ground truth and leaves all others as they are; the
difference to the tracker's own score is what that part costs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from mmengine.structures import InstanceData

from mmfdta.evaluation import Evaluation, summarise
from mmfdta.evaluation import Sequence as ScoredSequence
from mmfdta.evaluation.matching import EPS, find_overlaps, match_frames
from mmfdta.evaluation.scores import COUNTS
from mmfdta.models.trackers.kinds import find_kind
from mmfdta.structures.tracks import Tracks
from mmfdta.utils.instances import take_rows

from ...detection_store import SequenceDetections
from ...evaluation_data import EvaluationData
from ...sequence_loop import SequenceLoop
from ..tune_thresholds import track_known

#: IoU from which on a box is of an object.
MIN_IOU = 0.5
SCORES = ('HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1', 'IDSW')
# What a box is made of; all else that a detection has, it has from the detector.
_BOX = {'bboxes', 'scores', 'labels', 'areas'}


@dataclass(frozen=True)
class BoundMeaning:
    """What a bound is called and what it means.

    Attributes:
        title: A few words.
        text: What is the tracker's and what the ground truth's.
    """

    title: str
    text: str


#: By key, in the order of a report.
BOUNDS = {
    'tracker': BoundMeaning('as tracked', 'nothing comes from the ground truth'),
    'true_identities': BoundMeaning(
        'right identities',
        'the boxes that the tracker returned; each that overlaps an object (IoU 0.5, '
        "one to one) has the object's identity, each other one a separate identity",
    ),
    'true_association': BoundMeaning(
        'ground-truth association',
        'all detections that the tracker was given; those that overlap an object (IoU '
        "0.5, one to one) have the object's identity, the others are left out",
    ),
    'true_boxes': BoundMeaning(
        'ground-truth boxes',
        'the boxes of the objects with score 1 and, if the tracker looks at '
        'embeddings, that of the detection that overlaps best (IoU 0.5, one to one), '
        'however low its score is; the tracker associates them. Objects without such '
        'a detection are left out',
    ),
}


@dataclass(frozen=True)
class Bounds:
    """Scores of the tracker and of the bounds.

    Attributes:
        scores: :data:`SCORES`, fractions of 1 and a count, by a key of
            :data:`BOUNDS`; a bound that the tracker cannot have is not there.
        objects: Ground-truth boxes.
        without_embedding: Those that no detection overlaps, so that ``true_boxes``
            lacks them; 0 if the tracker looks at boxes only.
    """

    scores: dict[str, dict[str, float]]
    objects: int
    without_embedding: int = 0

    def summary(self) -> dict:
        """Return what is kept as JSON."""
        return dict(
            scores=self.scores,
            objects=self.objects,
            without_embedding=self.without_embedding,
        )


def match_truth(
    tracks: Tracks, truth: Tracks, length: int, by_class: bool = False
) -> np.ndarray:
    """Find the object of every box: one to one in a frame, the largest total IoU.

    Args:
        tracks: N boxes in frame order.
        truth: M boxes of objects in frame order.
        length: Frames of the sequence.
        by_class: Both boxes must have the same label.

    Returns:
        int64 (N,), row of the object in ``truth``, -1 for boxes that overlap none by
        :data:`MIN_IOU`.
    """
    found = np.full(len(tracks), -1)
    labels = np.unique(tracks.label) if by_class else [None]
    for label in labels:
        rows, objects = (
            np.flatnonzero((side.label == label) | (label is None))
            for side in (tracks, truth)
        )
        sides = truth.select(objects), tracks.select(rows)
        overlaps = find_overlaps(ScoredSequence('', length, *sides))
        score = np.where(overlaps.iou >= MIN_IOU - EPS, overlaps.iou, 0.0)
        pairs = match_frames(overlaps, score) & (score > 0)
        found[rows[overlaps.pred_row[pairs]]] = objects[overlaps.gt_row[pairs]]
    return found


def name_by_truth(
    tracks: Tracks,
    truth: Tracks,
    length: int,
    by_class: bool = False,
    keep_others: bool = True,
) -> Tracks:
    """Give boxes the identities of the objects that they overlap.

    Args:
        tracks: Boxes.
        truth: The objects.
        length: Frames of the sequence.
        by_class: Both boxes must have the same label.
        keep_others: Keep boxes that overlap no object, each with an identity of its
            own, which no score can hold against an object; else leave them out.
    """
    tracks, truth = tracks.in_frame_order(), truth.in_frame_order()
    at = match_truth(tracks, truth, length, by_class)
    identity = np.arange(len(tracks)) + 1 + truth.identity.max(initial=0)
    identity[at >= 0] = truth.identity[at[at >= 0]]
    named = replace(tracks, identity=identity)
    return named if keep_others else named.select(at >= 0)


def take_true_boxes(
    known: SequenceDetections, truth: Tracks, boxes_only: bool = False
) -> tuple[SequenceDetections, int]:
    """Put the boxes of the objects in the place of the detections.

    Args:
        known: What the detector found in a sequence.
        truth: Its objects, with the model's labels.
        boxes_only: The tracker looks at boxes, scores and labels only.

    Returns:
        A detection with score 1 for each object, see ``true_boxes`` of
        :data:`BOUNDS`; and how many objects are left out.
    """
    truth = truth.in_frame_order()
    boxes = detections_as_tracks(known.frames)
    at = match_truth(boxes, truth, len(known))
    # Row of the detection among those of its frame, by object.
    starts = np.searchsorted(boxes.frame, np.arange(1, len(known) + 1))
    row_of = np.full(len(truth), -1)
    row_of[at[at >= 0]] = (np.arange(len(boxes)) - starts[boxes.frame - 1])[at >= 0]
    more = set().union(*(found.keys() for found in known.frames)) - _BOX
    more = set() if boxes_only else more
    frames, left_out = [], 0
    for number, found in enumerate(known.frames, start=1):
        here = np.flatnonzero(truth.frame == number)
        if more:
            left_out += int((row_of[here] < 0).sum())
            here = here[row_of[here] >= 0]
        objects = InstanceData(
            bboxes=torch.from_numpy(truth.xyxy[here]).float(),
            scores=torch.ones(len(here)),
            labels=torch.from_numpy(np.maximum(truth.label[here], 0)),
        )
        if more:
            rest = take_rows(found, torch.from_numpy(row_of[here]))
            for name in more:
                objects.set_field(rest.get(name), name)
        frames.append(objects)
    return replace(known, frames=frames), left_out


def detections_as_tracks(frames: Sequence[InstanceData]) -> Tracks:
    """Turn detections in the frames of a sequence into boxes, numbered one by one."""
    counts = [len(found.scores) for found in frames]
    empty = torch.zeros(0)
    columns = (
        torch.cat([empty.reshape(0, *shape), *(found.get(name) for found in frames)])
        for name, shape in (('bboxes', (4,)), ('scores', ()), ('labels', ()))
    )
    bboxes, scores, labels = (column.numpy() for column in columns)
    xywh = bboxes.astype(np.float64)
    xywh[:, 2:] -= xywh[:, :2]
    frame = np.repeat(np.arange(1, len(counts) + 1), counts)
    return Tracks.create(frame, np.arange(len(frame)), xywh, scores, labels)


def choose_scores(evaluation: Evaluation) -> dict[str, float]:
    """Return :data:`SCORES` over all sequences, the mean of the classes."""
    scores = summarise(evaluation.over_classes())
    return {
        name: int(scores[name]) if name in COUNTS else scores[name] for name in SCORES
    }


def measure_bounds(
    loop: SequenceLoop,
    detections: Sequence[SequenceDetections] | None,
    given: Sequence[Tracks] | None,
    tracks: Sequence[Tracks],
    data: EvaluationData,
    on_frame: Callable[[], None] | None = None,
) -> Bounds:
    """Score a tracker and its bounds.

    Args:
        loop: The tracker on the data.
        detections: What its detector found in each sequence; None if it does not
            detect apart, so that there are no ``true_boxes``.
        given: The detections that took part in association, numbered anyhow; None:
            not known, so that there is no ``true_association``.
        tracks: What it returned for each sequence.
        data: The data, to score with.
        on_frame: Called after each frame that is tracked with true boxes.

    Raises:
        ValueError: If a sequence has no ground truth.
    """
    lengths = [len(sequence) for sequence in data.sequences]

    def named(parts: Sequence[Tracks], keep_others: bool) -> dict[str, float]:
        sides = zip(parts, data.scored, lengths, strict=True)
        renamed = [name_by_truth(*s, data.by_class, keep_others) for s in sides]
        return choose_scores(data.score(renamed))

    scores = {'tracker': choose_scores(data.score(tracks))}
    scores['true_identities'] = named(tracks, keep_others=True)
    if given is not None:
        scores['true_association'] = named(given, keep_others=False)
    left_out = 0
    if detections is not None:
        boxes_only = find_kind(loop.model.tracker).boxes_only
        found = []
        for index, known in enumerate(detections):
            replaced, missing = take_true_boxes(known, data.scored[index], boxes_only)
            left_out += missing
            found.append(track_known(loop, index, replaced, data, on_frame=on_frame))
        scores['true_boxes'] = choose_scores(data.score(found))
    return Bounds(scores, sum(map(len, data.scored)), left_out)
