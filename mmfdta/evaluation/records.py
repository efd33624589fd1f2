# Copyright (c) mmfdta authors.
"""What a run leaves of each frame, and how frames become sequences."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from mmengine.structures import BaseDataElement, InstanceData

from mmfdta.structures.track_embeddings import TrackEmbeddings
from mmfdta.structures.tracks import Sequence, Tracks, as_array


@dataclass(frozen=True)
class FrameRecord:
    """Boxes of one frame; light enough to travel between processes.

    Attributes:
        sequence: Name of the sequence.
        video_id: Number of the sequence in its data set.
        frame_id: Frame, from 0.
        num_frames: Length of the sequence.
        pred: What the tracker found, as it stands in result text.
        gt: The ground truth; None where there is none.
        embeddings: float32 (n, C), of the n tracks; None where they have none.
    """

    sequence: str
    video_id: int
    frame_id: int
    num_frames: int
    pred: Tracks
    gt: Tracks | None
    embeddings: np.ndarray | None = None


def make_record(sample: BaseDataElement, mot_classes: bool) -> FrameRecord:
    """Take what the scores need out of a frame's data sample.

    Args:
        sample: A frame with ``pred_track_instances`` and, where
            the ground truth is known, ``gt_instances``; boxes of both in pixels
            of the original image.
        mot_classes: Take the ground truth's MOTChallenge classes
            (``categories``) instead of its labels.

    Raises:
        ValueError: If the sample lacks something or a box is not finite.
    """
    where = f'sequence {sample.get("sequence")!r}, frame_id {sample.get("frame_id")}'
    needed = (
        *('sequence', 'frame_id', 'video_id', 'video_length'),
        'pred_track_instances',
    )
    lacking = [name for name in needed if name not in sample]
    if lacking:
        raise ValueError(
            f'{where}: the data sample has no {", ".join(lacking)}; the test '
            'pipeline must pack this meta information and the model must track'
        )
    frame = int(sample.frame_id) + 1
    try:
        pred = _pred_tracks(sample.pred_track_instances, frame, mot_classes)
        gt = None
        if 'gt_instances' in sample:
            gt = _gt_tracks(sample.gt_instances, frame, mot_classes)
    except ValueError as error:
        raise ValueError(f'{where}: {error}') from None
    return FrameRecord(
        sequence=str(sample.sequence),
        video_id=int(sample.video_id),
        frame_id=int(sample.frame_id),
        num_frames=int(sample.video_length),
        pred=pred,
        gt=gt,
        embeddings=_embeddings(sample.pred_track_instances),
    )


def assemble(records: Iterable[FrameRecord]) -> tuple[list[Sequence], list[Sequence]]:
    """Put frames together, whatever process or order they come from.

    Frames that a sampler repeats to fill its last batch count once.

    Returns:
        Sequences by name, those with ground truth and those without.

    Raises:
        ValueError: If frames of a sequence are missing or two sequences have
            the same name.
    """
    known: list[Sequence] = []
    unknown: list[Sequence] = []
    ordered = sorted(records, key=lambda record: (record.sequence, record.frame_id))
    for name, group in itertools.groupby(ordered, lambda record: record.sequence):
        records = list(group)
        videos = sorted({record.video_id for record in records})
        if len(videos) > 1:
            raise ValueError(
                f'sequence {name!r}: the name belongs to the video_ids {videos}; '
                'results are kept by name, so names must differ'
            )
        by_frame = {record.frame_id: record for record in records}
        frames = list(by_frame.values())
        length = frames[0].num_frames
        missing = sorted(set(range(length)) - set(by_frame))
        if missing or len(frames) != length:
            raise ValueError(
                f'sequence {name!r}: found {len(frames)} frames, expected '
                f'video_length {length}; the first missing frame_id is '
                f'{missing[0] if missing else None}. Every frame must be tested: '
                'look at the sampler and at `indices` of the data set'
            )
        lacks_gt = [record.gt is None for record in frames]
        truths = [record.gt for record in frames if record.gt is not None]
        if any(lacks_gt) and not all(lacks_gt):
            raise ValueError(
                f'sequence {name!r}: frame_id {lacks_gt.index(True)} has no '
                'gt_instances while others have; an annotated frame without '
                'objects needs empty gt_instances'
            )
        pred = Tracks.concatenate([record.pred for record in frames])
        gt = Tracks.concatenate(truths)
        (unknown if lacks_gt[0] else known).append(Sequence(name, length, gt, pred))
    return known, unknown


def gather_embeddings(records: Iterable[FrameRecord]) -> dict[str, TrackEmbeddings]:
    """Put the embeddings of tracks together, by sequence, in the order of frames.

    Boxes whose embedding is not finite have none.

    Args:
        records: Frames, those of a sampler that repeats some once or more.

    Returns:
        Those of the sequences whose tracks have embeddings.
    """
    frames = {(r.sequence, r.frame_id): r for r in records if r.embeddings is not None}
    parts: dict[str, list[FrameRecord]] = {}
    for name, frame in sorted(frames):
        found = parts.setdefault(name, [])
        if len(frames[name, frame].pred):
            found.append(frames[name, frame])
    gathered = {}
    for name, of_sequence in parts.items():
        tracks = Tracks.concatenate([record.pred for record in of_sequence])
        rows = [r.embeddings for r in of_sequence if r.embeddings is not None]
        embeddings = np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)
        known = np.isfinite(embeddings).all(axis=1)
        gathered[name] = TrackEmbeddings(
            tracks.frame[known],
            tracks.identity[known],
            tracks.label[known],
            embeddings[known],
        )
    return gathered


def _embeddings(instances: InstanceData) -> np.ndarray | None:
    if 'embeddings' not in instances:
        return None
    return as_array(instances.embeddings).astype(np.float32)


def _pred_tracks(instances: InstanceData, frame: int, mot_classes: bool) -> Tracks:
    tracks = Tracks.from_instances(instances, frame)
    if not np.isfinite(tracks.score).all():
        raise ValueError('found a track score that is not finite')
    return as_written(tracks, mot_classes)


def as_written(tracks: Tracks, mot_classes: bool) -> Tracks:
    """Round to what the text holds, so that text and memory score the same.

    Args:
        tracks: Results, with labels.
        mot_classes: The ground truth has the classes of MOTChallenge.
    """
    if mot_classes:  # labels count from 0 and are no MOTChallenge classes
        tracks = replace(tracks, label=np.full(len(tracks), -1))
    return tracks.rounded()


def _gt_tracks(instances: InstanceData, frame: int, mot_classes: bool) -> Tracks:
    """Take the rows of the text where they are known, else the boxes."""
    classes = 'categories' if mot_classes else 'labels'
    for name in ('instances_ids', *(('consider',) if mot_classes else ()), classes):
        if name not in instances:
            raise ValueError(
                f'gt_instances has no {name}, which this benchmark is scored by'
            )
    if 'xywh' not in instances:
        xywh = Tracks.from_instances(instances, frame).xywh
    else:
        xywh = as_array(instances.xywh)
    return Tracks.create(
        frame=np.full(len(xywh), frame),
        identity=as_array(instances.instances_ids),
        xywh=xywh,
        score=as_array(instances.consider) if 'consider' in instances else None,
        label=as_array(instances.get(classes)),
    )
