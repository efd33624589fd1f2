# Copyright (c) mmfdta authors.
"""How well embeddings tell objects apart, from layer to layer and stage to stage.

Pairs of annotated objects of a clip are compared by the cosine similarity of their
embeddings: different objects of one frame, and one object in two frames (figure 1 of
the paper).
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from mmfdta.datasets import MOTSequenceDataset
from mmfdta.engine.precision import precision_of
from mmfdta.models import FDTA
from mmfdta.structures.tracks import Tracks
from mmfdta.visualization import SimilarityPanel

from ...detection_store import SequenceDetections
from ...evaluation_data import EvaluationData
from ...sequence_loop import SequenceLoop

BINS = 200
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Similarities whose shares above are kept next to the requested threshold."""
# Bins that pairs are counted in, in each of the BINS. Detectors' embeddings crowd
# near 1, where the order of two pairs is what the AUC is about.
_FINE = 100
_MIN_IOU = 0.5


@dataclass
class Pairs:
    """Cosine similarities of pairs of objects, counted.

    Attributes:
        fine: int64 (20 000,), pairs in equal bins from -1 to 1.
        above: Pairs whose similarity is above a threshold.
        total: Sum of the similarities.
    """

    fine: np.ndarray = field(default_factory=lambda: np.zeros(BINS * _FINE, np.int64))
    above: int = 0
    total: float = 0.0

    def add(self, values: Tensor, threshold: float) -> None:
        """Count similarities (P,)."""
        self.fine += torch.histc(values.cpu(), len(self.fine), -1, 1).long().numpy()
        self.above += int((values > threshold).sum())
        self.total += float(values.sum())

    @property
    def histogram(self) -> np.ndarray:
        """int64 (200,), pairs in equal bins from -1 to 1."""
        return self.fine.reshape(BINS, _FINE).sum(1)

    @property
    def share_above(self) -> float:
        """Share of the pairs above the threshold."""
        return self.above / max(1, int(self.fine.sum()))

    def summary(self) -> dict:
        """Return what is kept as JSON."""
        pairs = int(self.fine.sum())
        above = {t: int(self.fine[_first_bin(t) :].sum()) for t in THRESHOLDS}
        return dict(
            pairs=pairs,
            mean=self.total / max(1, pairs),
            share_above=self.share_above,
            shares={f'{t:g}': count / max(1, pairs) for t, count in above.items()},
            histogram=self.histogram.tolist(),
        )


def _first_bin(similarity: float) -> int:
    """Fine bin that begins at a similarity, a multiple of its width."""
    return round((similarity + 1) / 2 * BINS * _FINE)


@dataclass
class Similarities:
    """Cosine similarities of embeddings at one stage.

    Attributes:
        threshold: Similarities above it are counted exactly.
        different: Of different objects in one frame.
        same: Of one object in two frames.
        margins: float64 (n,) parts: of each object that was seen before in its clip,
            next to others that were, the similarity with its own last embedding minus
            the largest one with the last embedding of another object.
    """

    threshold: float = 0.9
    different: Pairs = field(default_factory=Pairs)
    same: Pairs = field(default_factory=Pairs)
    margins: list[np.ndarray] = field(default_factory=list)

    def add(self, features: Tensor, frames: Tensor, identities: Tensor) -> None:
        """Count the pairs of a clip.

        Args:
            features: (M, C), one for each object and frame.
            frames: int64 (M,).
            identities: int64 (M,), from 0.
        """
        unit = F.normalize(features.double(), dim=-1)
        similarity = (unit @ unit.T).clamp(-1, 1)
        same_frame = frames[:, None] == frames
        same_object = identities[:, None] == identities
        once = torch.ones_like(same_frame).triu(1)
        different = similarity[same_frame & ~same_object & once]
        self.different.add(different, self.threshold)
        self.same.add(similarity[same_object & ~same_frame & once], self.threshold)
        self._add_margins(similarity.cpu(), frames.cpu(), identities.cpu())

    def _add_margins(self, similarity: Tensor, frames: Tensor, ids: Tensor) -> None:
        if not len(ids):
            return
        length, num_ids = int(frames.max()) + 1, int(ids.max()) + 1
        # Row of each object in the last frame before each frame, -1: not seen yet.
        seen = torch.full((length + 1, num_ids), -1)
        seen[frames + 1, ids] = torch.arange(len(ids))
        when = torch.where(seen >= 0, torch.arange(length + 1)[:, None], 0)
        last = seen.gather(0, when.cummax(0).values)[frames]
        value = similarity.gather(1, last.clamp(min=0)).masked_fill(
            last < 0, -torch.inf
        )
        own = torch.arange(num_ids) == ids[:, None]
        wrong = value.masked_fill(own, -torch.inf).amax(1)
        right = value.masked_fill(~own, -torch.inf).amax(1)
        known = right.isfinite() & wrong.isfinite()
        self.margins.append((right - wrong)[known].numpy())

    @property
    def auc(self) -> float:
        """Chance that a pair of one object is more alike than one of different objects.

        Area under the ROC curve; pairs in one bin (1e-4 wide) count half. 0.5 is
        chance; NaN without pairs of both kinds.
        """
        same, different = (
            side.fine.astype(float) for side in (self.same, self.different)
        )
        total = same.sum() * different.sum()
        below = np.cumsum(different) - different / 2
        return float((same * below).sum() / total) if total else float('nan')

    @property
    def overlap(self) -> float:
        """Area that both distributions share, 0 to 1, in bins of 0.01.

        NaN without pairs of both kinds.
        """
        sides = [side.histogram.astype(float) for side in (self.same, self.different)]
        if not all(side.sum() for side in sides):
            return float('nan')
        return float(np.minimum(*(side / side.sum() for side in sides)).sum())

    @property
    def nearest(self) -> dict[str, Any]:
        """How often the last embedding that is most alike is that of another object.

        Returns:
            ``objects`` that were compared, share ``wrong`` of them that are as alike
            to another object as to themselves or more, and the ``median`` and ``p10``
            of the margins; None where nothing was compared.
        """
        margins = np.concatenate([*self.margins, np.zeros(0)])
        if not len(margins):
            return dict(objects=0, wrong=None, median=None, p10=None)
        low, median = np.quantile(margins, (0.1, 0.5))
        return dict(
            objects=len(margins),
            wrong=float((margins <= 0).mean()),
            median=float(median),
            p10=float(low),
        )

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
        auc, overlap = (None if v != v else v for v in (self.auc, self.overlap))
        return dict(
            auc=auc,
            overlap=overlap,
            nearest=self.nearest,
            different=self.different.summary(),
            same=self.same.summary(),
        )


@dataclass(frozen=True)
class MatchedClip:
    """Embeddings of the annotated objects of a clip.

    Attributes:
        embeddings: (M, C) of the matched queries.
        frames: int64 (M,), 0 to T - 1.
        identities: int64 (M,), 0 to N - 1.
        num_frames: T.
        num_annotated: Annotated boxes, found or not.
        rows: int64 (M,), places of the matched queries in their frames' detections.
    """

    embeddings: Tensor
    frames: Tensor
    identities: Tensor
    num_frames: int
    num_annotated: int
    rows: Tensor


def match_clip(
    found: Sequence[InstanceData], objects: Sequence[InstanceData], score_thr: float
) -> MatchedClip:
    """Find the detection of every annotated object.

    Pairs of a frame have the largest total IoU; those of a low IoU are left out then,
    where :func:`~.bounds.match_truth` leaves them out before. Recorded similarities
    were measured in this way.

    Args:
        found: Detections of the T frames, with ``bboxes`` (n, 4) xyxy, ``scores`` and
            ``embeddings`` (n, C).
        objects: Ground truth of the frames, ``bboxes`` (m, 4) xyxy in the same pixels
            and ``instances_ids`` (m,).
        score_thr: Only detections with a higher score count.

    Returns:
        One row for each object with an IoU of at least 0.5.
    """
    rows, times, names, places = [], [], [], []
    for t, (detections, truth) in enumerate(zip(found, objects, strict=True)):
        (place,) = (detections.scores > score_thr).nonzero(as_tuple=True)
        detections = detections[place]
        iou = bbox_overlaps(detections.bboxes, truth.bboxes.to(detections.bboxes)).cpu()
        query, target = map(torch.from_numpy, linear_sum_assignment(-iou.numpy()))
        good = iou[query, target] >= _MIN_IOU
        rows.append(detections.embeddings[query[good]])
        places.append(place.cpu()[query[good]])
        names.append(truth.instances_ids[target[good]])
        times.append(torch.full_like(names[-1], t))
    embeddings = torch.cat(rows)
    return MatchedClip(
        embeddings,
        torch.cat(times).to(embeddings.device),
        torch.cat(names).unique(return_inverse=True)[1].to(embeddings.device),
        len(found),
        sum(map(len, objects)),
        torch.cat(places),
    )


def list_stages(model: nn.Module, num_layers: int = 0) -> list[str]:
    """Name the places at which embeddings are compared, in order.

    Args:
        model: FDTA, or a detector (with or without a tracker) whose detections have
            embeddings.
        num_layers: Decoder layers L of the detector, whose last one gives the
            embeddings; 0 leaves the others out.
    """
    stages = [f'decoder layer {number}' for number in range(1, num_layers)]
    stages.append('detector')
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
        if sequence.annotations is None:
            raise ValueError(
                f'sequence {sequence.name!r} has no ground truth, which similarities '
                'are measured by; choose another split'
            )
        length = min(clip_length, len(sequence))
        count = min(clips_per_sequence, len(sequence) // length)
        starts = np.linspace(0, len(sequence) - length, count).astype(int)
        for start in starts:
            yield index, list(range(start, start + length))


def annotated_objects(truth: Tracks, frames: Sequence[int]) -> list[InstanceData]:
    """Return the ground truth of some frames.

    Args:
        truth: The objects of a sequence in frame order, see
            :attr:`~mmfdta.apis.evaluation_data.EvaluationData.scored`.
        frames: Frames, from 0.

    Returns:
        For each frame ``bboxes`` float64 (m, 4) xyxy in pixels of the original image
        and ``instances_ids`` int64 (m,).
    """
    objects = []
    for frame in frames:
        first, last = np.searchsorted(truth.frame, (frame + 1, frame + 2))
        here = truth.select(np.arange(first, last))
        objects.append(
            InstanceData(
                bboxes=torch.from_numpy(here.xyxy),
                instances_ids=torch.from_numpy(here.identity),
            )
        )
    return objects


@dataclass(frozen=True)
class Separability:
    """How well embeddings tell objects apart.

    Attributes:
        stages: By name, in the order of :func:`list_stages`.
        found: Share of the annotated boxes that a detection was found for.
        threshold: Similarities above it are counted exactly.
    """

    stages: dict[str, Similarities]
    found: float
    threshold: float

    def summary(self) -> dict:
        """Return what is kept as JSON."""
        return dict(
            threshold=self.threshold,
            found=self.found,
            bins=[-1, 1, BINS],
            stages={name: stage.summary() for name, stage in self.stages.items()},
        )

    def panels(self) -> list[SimilarityPanel]:
        """Return what is plotted."""
        return [stage.panel(name) for name, stage in self.stages.items()]


def clip_settings(model: nn.Module) -> tuple[float, int]:
    """Say how the embeddings of a model are to be compared.

    Args:
        model: See :func:`list_stages`.

    Returns:
        The score above which its association looks at detections, and the frames that
        it looks back at most; 0.3 and 30 of others.
    """
    if isinstance(model, FDTA):
        return model.tracker.det_thr, model.id_decoder.max_relative_time
    return 0.3, 30


def shows_layers(model: nn.Module) -> bool:
    """Whether the detector of a model shows its decoder layers."""
    return hasattr(getattr(model, 'detector', model), 'detect_by_layer')


def measure_similarity(
    loop: SequenceLoop,
    data: EvaluationData,
    score_thr: float,
    clip_length: int = 30,
    clips_per_sequence: int = 4,
    threshold: float = 0.9,
    on_clip: Callable[[], None] | None = None,
    by_layer: bool = False,
    detections: Sequence[SequenceDetections] | None = None,
) -> Separability:
    """Compare the embeddings of the objects of a data set at every stage.

    Objects are those that the rules of the data score: no distractors, and no rows
    with a 0 in column 7.

    Detections come from the store of the loop where they are known; else only the
    frames of the clips are looked at.

    Args:
        loop: A model, see :func:`list_stages`, on data with ground truth.
        data: The same data.
        score_thr: Only detections with a higher score count.
        clip_length: Frames that are looked at together; at most what the model was
            trained with.
        clips_per_sequence: Clips of each sequence.
        threshold: Similarities above it are counted exactly.
        on_clip: Called after each clip.
        by_layer: Compare what the decoder layers before the last one give the same
            queries, too. The store does not have that: the frames of the clips are
            looked at again.
        detections: What the detector found in each sequence; None asks the store.

    Raises:
        ValueError: If the model's detections have no embeddings, or a sequence has no
            ground truth.
    """
    stages: dict[str, Similarities] = {}
    matched = annotated = 0
    clips = cut_clips(loop.dataset, clip_length, clips_per_sequence)
    for index, group in itertools.groupby(clips, lambda clip: clip[0]):
        known = None
        if not by_layer:
            known = loop.reads(index) if detections is None else detections[index]
        for _, frames in group:
            layers: list[Tensor] = []
            if by_layer:
                looked = list(loop.look_into(index, frames))
                found = [instances for instances, _ in looked]
                layers = [states for _, states in looked]
            elif known is None:
                found = loop.detect(index, frames).frames
            else:
                found = [known.frames[frame] for frame in frames]
            if 'embeddings' not in found[0]:
                raise ValueError(
                    f'model.type: the detections of {type(loop.model).__name__} have '
                    'no embeddings, expected those of FDTA, MOTIP, FDTADetector or '
                    'QueryDetector'
                )
            found = [detections.to(loop.device) for detections in found]
            objects = annotated_objects(data.scored[index], frames)
            clip = match_clip(found, objects, score_thr)
            features = _features_by_layer(clip, layers)
            features |= features_by_stage(loop.model, clip)
            for name, of_stage in features.items():
                counted = stages.setdefault(name, Similarities(threshold))
                counted.add(of_stage, clip.frames, clip.identities)
            matched += len(clip.embeddings)
            annotated += clip.num_annotated
            if on_clip is not None:
                on_clip()
    return Separability(stages, matched / max(1, annotated), threshold)


def _features_by_layer(clip: MatchedClip, layers: list[Tensor]) -> dict[str, Tensor]:
    """Embeddings (M, C) of the layers before the last one.

    Args:
        clip: The objects.
        layers: Of each of the T frames (L, Q, C); empty gives none.
    """
    if not layers:
        return {}
    states = torch.stack(layers)
    chosen = states[clip.frames, :, clip.rows.to(states.device)].float()
    names = list_stages(nn.Identity(), states.shape[1])[:-1]
    return dict(zip(names, chosen.unbind(1), strict=False))
