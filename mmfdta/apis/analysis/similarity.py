# Copyright (c) mmfdta authors.
"""How alike the embeddings of objects are (figure 1 of the paper)."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from mmfdta.datasets import MOTSequenceDataset
from mmfdta.datasets.sequences import Sequence as MOTSequence
from mmfdta.datasets.sequences import SequenceAnnotations
from mmfdta.engine.precision import precision_of
from mmfdta.models import FDTA
from mmfdta.visualization import SimilarityPanel

from ..sequence_loop import SequenceLoop

BINS = 200
_MIN_IOU = 0.5


@dataclass
class Pairs:
    """Cosine similarities of pairs of objects, counted.

    Attributes:
        histogram: int64 (200,), pairs in equal bins from -1 to 1.
        above: Pairs whose similarity is above a threshold.
        total: Sum of the similarities.
    """

    histogram: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    above: int = 0
    total: float = 0.0

    def add(self, values: Tensor, threshold: float) -> None:
        """Count similarities (P,)."""
        self.histogram += torch.histc(values.cpu(), BINS, -1, 1).long().numpy()
        self.above += int((values > threshold).sum())
        self.total += float(values.sum())

    @property
    def share_above(self) -> float:
        """Share of the pairs above the threshold."""
        return self.above / max(1, int(self.histogram.sum()))

    def summary(self) -> dict:
        """Return what is kept as JSON."""
        pairs = int(self.histogram.sum())
        return dict(
            pairs=pairs,
            mean=self.total / max(1, pairs),
            share_above=self.share_above,
            histogram=self.histogram.tolist(),
        )


@dataclass
class Similarities:
    """Cosine similarities of embeddings at one stage.

    Attributes:
        threshold: Similarities above it are counted exactly.
        different: Of different objects in one frame.
        same: Of one object in two frames.
    """

    threshold: float = 0.9
    different: Pairs = field(default_factory=Pairs)
    same: Pairs = field(default_factory=Pairs)

    def add(self, features: Tensor, frames: Tensor, identities: Tensor) -> None:
        """Count the pairs of a clip.

        Args:
            features: (M, C), one for each object and frame.
            frames: int64 (M,).
            identities: int64 (M,).
        """
        unit = F.normalize(features.double(), dim=-1)
        similarity = (unit @ unit.T).clamp(-1, 1)
        same_frame = frames[:, None] == frames
        same_object = identities[:, None] == identities
        once = torch.ones_like(same_frame).triu(1)
        different = similarity[same_frame & ~same_object & once]
        self.different.add(different, self.threshold)
        self.same.add(similarity[same_object & ~same_frame & once], self.threshold)

    def panel(self, title: str) -> SimilarityPanel:
        """Return what is plotted."""
        return SimilarityPanel(
            title=title,
            edges=np.linspace(-1, 1, BINS + 1),
            different=self.different.histogram,
            same=self.same.histogram,
            threshold=self.threshold,
            share_different=self.different.share_above,
            share_same=self.same.share_above,
        )

    def summary(self) -> dict:
        """Return what is kept as JSON."""
        return dict(different=self.different.summary(), same=self.same.summary())


@dataclass(frozen=True)
class MatchedClip:
    """Embeddings of the annotated objects of a clip.

    Attributes:
        embeddings: (M, C) of the matched queries.
        frames: int64 (M,), 0 to T - 1.
        identities: int64 (M,), 0 to N - 1.
        num_frames: T.
        num_annotated: Annotated boxes, found or not.
    """

    embeddings: Tensor
    frames: Tensor
    identities: Tensor
    num_frames: int
    num_annotated: int


def match_clip(
    found: Sequence[InstanceData], objects: Sequence[InstanceData], score_thr: float
) -> MatchedClip:
    """Find the detection of every annotated object.

    Args:
        found: Detections of the T frames, with ``bboxes`` (n, 4) xyxy, ``scores`` and
            ``embeddings`` (n, C).
        objects: Ground truth of the frames, ``bboxes`` (m, 4) xyxy in the same pixels
            and ``instances_ids`` (m,).
        score_thr: Only detections with a higher score count.

    Returns:
        One row for each object with an IoU of at least 0.5.
    """
    rows, times, names = [], [], []
    for t, (detections, truth) in enumerate(zip(found, objects, strict=True)):
        detections = detections[detections.scores > score_thr]
        iou = bbox_overlaps(detections.bboxes, truth.bboxes.to(detections.bboxes)).cpu()
        query, target = map(torch.from_numpy, linear_sum_assignment(-iou.numpy()))
        good = iou[query, target] >= _MIN_IOU
        rows.append(detections.embeddings[query[good]])
        names.append(truth.instances_ids[target[good]])
        times.append(torch.full_like(names[-1], t))
    embeddings = torch.cat(rows)
    return MatchedClip(
        embeddings,
        torch.cat(times).to(embeddings.device),
        torch.cat(names).unique(return_inverse=True)[1].to(embeddings.device),
        len(found),
        sum(map(len, objects)),
    )


def list_stages(model: nn.Module) -> list[str]:
    """Name the places at which embeddings are compared, in order.

    Args:
        model: FDTA, or a detector whose detections have embeddings.
    """
    stages = ['detector']
    if not isinstance(model, FDTA):
        return stages
    if model.embedding_sharing.projection is not None:
        stages.append('projection')
    if model.identity_adapter is not None:
        stages.append('identity adapter')
    if model.temporal_adapter is not None:
        stages.append('temporal adapter')
    return [*stages, 'trajectory modelling']


@torch.no_grad()
def features_by_stage(model: nn.Module, clip: MatchedClip) -> dict[str, Tensor]:
    """Follow the embeddings of a clip through the adapters.

    Args:
        model: In evaluation mode, see :func:`list_stages`.
        clip: The objects.

    Returns:
        float32 (M, C) for each of :func:`list_stages`. The identity adapter projects
        single embeddings, the temporal adapter and trajectory modelling refine
        trajectories over the clip.
    """
    embeddings = clip.embeddings
    if not len(embeddings) or not isinstance(model, FDTA):
        return dict.fromkeys(list_stages(model), embeddings)
    features = {'detector': embeddings}
    with precision_of(model).on(embeddings.device.type):
        embeddings = model.embedding_sharing(embeddings)
    if model.embedding_sharing.projection is not None:
        features['projection'] = embeddings
    num_ids = int(clip.identities.max()) + 1
    at = clip.frames, clip.identities
    trajectories = embeddings.new_zeros(clip.num_frames, num_ids, embeddings.shape[-1])
    trajectories[at] = embeddings
    missing = torch.ones_like(trajectories[..., 0], dtype=torch.bool)
    missing[at] = False
    with precision_of(model).on(embeddings.device.type):
        if model.identity_adapter is not None:
            features['identity adapter'] = model.identity_adapter(embeddings)
        if model.temporal_adapter is not None:
            temporal = model.temporal_adapter(trajectories, missing)
            features['temporal adapter'] = temporal[at]
        features['trajectory modelling'] = model.refine(trajectories, missing)[at]
    return {stage: found.float() for stage, found in features.items()}


def cut_clips(
    dataset: MOTSequenceDataset, clip_length: int, clips_per_sequence: int
) -> Iterator[tuple[int, list[int]]]:
    """Choose clips spread evenly over every sequence.

    Args:
        dataset: The data.
        clip_length: Frames T of a clip; shorter sequences give all.
        clips_per_sequence: At most so many clips, which do not overlap.

    Yields:
        Index of the sequence, and its frames.

    Raises:
        ValueError: If a sequence has no ground truth.
    """
    for index, sequence in enumerate(dataset.sequences):
        _require_annotations(sequence)
        length = min(clip_length, len(sequence))
        count = min(clips_per_sequence, len(sequence) // length)
        starts = np.linspace(0, len(sequence) - length, count).astype(int)
        for start in starts:
            yield index, list(range(start, start + length))


def _require_annotations(sequence: MOTSequence) -> SequenceAnnotations:
    if sequence.annotations is None:
        raise ValueError(
            f'sequence {sequence.name!r} has no ground truth, which similarities '
            'are measured by; choose another split'
        )
    return sequence.annotations


def annotated_objects(
    dataset: MOTSequenceDataset, index: int, frames: Sequence[int]
) -> list[InstanceData]:
    """Return the ground truth of some frames.

    Args:
        dataset: The data.
        index: Index of the sequence.
        frames: Frames, from 0.

    Returns:
        For each frame ``bboxes`` float64 (m, 4) xyxy in pixels of the original image
        and ``instances_ids`` int64 (m,).

    Raises:
        ValueError: If the sequence has no ground truth.
    """
    rows = _require_annotations(dataset.sequences[index])
    objects = []
    for frame in frames:
        here = np.arange(rows.offsets[frame], rows.offsets[frame + 1])
        if not dataset.test_mode:
            here = here[rows.trainable[here]]
        tracks = rows.tracks.select(here)
        objects.append(
            InstanceData(
                bboxes=torch.from_numpy(tracks.xyxy),
                instances_ids=torch.from_numpy(tracks.identity),
            )
        )
    return objects


def measure_similarity(
    loop: SequenceLoop,
    score_thr: float,
    clip_length: int = 30,
    clips_per_sequence: int = 4,
    threshold: float = 0.9,
    on_clip: Callable[[], None] | None = None,
) -> tuple[dict[str, Similarities], float]:
    """Compare the embeddings of the objects of a data set at every stage.

    Detections come from the store of the loop where they are known; else only the
    frames of the clips are looked at.

    Args:
        loop: A model, see :func:`list_stages`, on data with ground truth.
        score_thr: Only detections with a higher score count.
        clip_length: Frames that are looked at together; at most what the model was
            trained with.
        clips_per_sequence: Clips of each sequence.
        threshold: Similarities above it are counted exactly.
        on_clip: Called after each clip.

    Returns:
        Similarities by stage, and the share of the annotated boxes that were found.

    Raises:
        ValueError: If the model's detections have no embeddings, or a sequence has no
            ground truth.
    """
    stages = {name: Similarities(threshold) for name in list_stages(loop.model)}
    matched = annotated = 0
    clips = cut_clips(loop.dataset, clip_length, clips_per_sequence)
    for index, group in itertools.groupby(clips, lambda clip: clip[0]):
        known = loop.reads(index)
        for _, frames in group:
            if known is None:
                found = loop.detect(index, frames).frames
            else:
                found = [known.frames[frame] for frame in frames]
            if 'embeddings' not in found[0]:
                raise ValueError(
                    f'model.type: the detections of {type(loop.model).__name__} have '
                    'no embeddings, expected those of FDTA, MOTIP or FDTADetector'
                )
            found = [detections.to(loop.device) for detections in found]
            objects = annotated_objects(loop.dataset, index, frames)
            clip = match_clip(found, objects, score_thr)
            for name, features in features_by_stage(loop.model, clip).items():
                stages[name].add(features, clip.frames, clip.identities)
            matched += len(clip.embeddings)
            annotated += clip.num_annotated
            if on_clip is not None:
                on_clip()
    return stages, matched / max(1, annotated)
