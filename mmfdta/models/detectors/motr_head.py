# Copyright (c) mmfdta authors.
"""MOTR in training: the assignment of objects to queries, and the loss of clips."""

from dataclasses import dataclass, replace

import torch
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps
from mmdet.utils import OptConfigType, reduce_mean
from torch import Tensor

from mmfdta.utils.transfers import to_device, to_host

from .fdta_head import FDTAHead
from .matcher import ClipTargets, MatchedPairs, assign
from .outputs import DetectorOutputs


@dataclass
class Tracklets:
    """The object that each of Q queries follows, on the host."""

    identities: Tensor
    """(Q,) int64; -1 for a query without an object."""
    ious: Tensor
    """(Q,) float32, overlap with the object when it was last visible; 0 before."""

    @classmethod
    def unassigned(cls, number: int) -> 'Tracklets':
        """Return the state of queries that follow nothing yet."""
        return cls(torch.full((number,), -1), torch.zeros(number))

    def after_new(self, number: int, kept: Tensor) -> 'Tracklets':
        """Return the state of new queries, and then of the ``kept`` ones of these."""
        new = self.unassigned(number)
        return Tracklets(
            torch.cat([new.identities, self.identities[kept]]),
            torch.cat([new.ious, self.ious[kept]]),
        )


@dataclass
class TrackletMatches:
    """The assignment of a frame with M objects, in L decoder layers, on the host."""

    query_idx: Tensor
    """(L, M) int64, the query of each object; -1 without one."""
    tracklets: Tracklets
    """State of all Q queries after the frame, by the last layer."""
    boxes: Tensor
    """(Q, 4), predictions of the last layer, cxcywh in 0..1."""
    num_lost: int
    """Number of queries whose object is not in the frame."""


@TASK_UTILS.register_module()
class TrackletMatcher:
    """Tracklet-aware label assignment of a frame (arXiv 2105.03247, Sec. 3.3).

    An object belongs to the query that follows it, in every decoder layer. Other
    objects are matched, separately in each layer, to the queries that follow nothing. A
    query whose object is not visible is trained to find nothing, and stays assigned to
    it.

    Args:
        newborn_matcher: Config of the matcher of new objects.
    """

    def __init__(self, newborn_matcher: OptConfigType = None) -> None:
        self.newborn_matcher = TASK_UTILS.build(
            newborn_matcher or dict(type='ClipMatcher')
        )

    @torch.no_grad()
    def __call__(
        self,
        outputs: DetectorOutputs,
        targets: ClipTargets,
        on_host: ClipTargets,
        frame: int,
        tracklets: Tracklets,
    ) -> TrackletMatches:
        """Assign objects to queries, with one wait for the device.

        Args:
            outputs: Outputs for the frame (F = 1).
            targets: Ground truth of several frames, on the device of the outputs.
            on_host: The same on the host.
            frame: Index of the frame among these.
            tracklets: State of the Q queries before the frame.

        Returns:
            The assignment; see :func:`assign` for predictions that are not finite.
        """
        outputs = outputs.float()
        number = on_host.num_valid[frame]
        identities = on_host.identities[frame, :number]
        before = tracklets.identities
        follows = (before[:, None] == identities) & (before >= 0)[:, None]
        known = follows.any(0)
        query_idx = follows.int().argmax(0).masked_fill(~known, -1)
        query_idx = query_idx.repeat(len(outputs.cls_scores), 1)
        new, free = (~known).nonzero()[:, 0], (before < 0).nonzero()[:, 0]
        cost, boxes = self._fetch(
            outputs, targets, frame, number if len(new) and len(free) else 0
        )
        if cost.numel():
            for layer, row in enumerate(query_idx):
                block = cost[layer, free][:, new].T
                matched, query = assign(block.numpy())
                row[new[matched]] = free[query]

        box = (query_idx[-1] >= 0).nonzero()[:, 0]
        query = query_idx[-1, box]
        after = Tracklets(before.clone(), tracklets.ious.clone())
        after.identities[query] = identities[box]
        after.ious[query] = bbox_overlaps(
            bbox_cxcywh_to_xyxy(boxes[query]),
            bbox_cxcywh_to_xyxy(on_host.boxes[frame, box]),
            is_aligned=True,
            eps=torch.finfo(torch.float32).tiny,
        )
        num_lost = int((before >= 0).sum() - known.sum())
        return TrackletMatches(query_idx, after, boxes, num_lost)

    def _fetch(
        self, outputs: DetectorOutputs, targets: ClipTargets, frame: int, number: int
    ) -> tuple[Tensor, Tensor]:
        """Return costs (L, Q, M) of the first M objects, and the last layer's boxes."""
        boxes = outputs.bbox_preds[-1, 0]
        shape = *outputs.cls_scores.shape[::2], number
        parts = [boxes]
        if number:
            one = slice(frame, frame + 1), slice(number)
            names = 'boxes', 'labels'
            objects = {name: getattr(targets, name)[one] for name in names}
            parts += self.newborn_matcher.costs(
                outputs.cls_scores, outputs.bbox_preds, replace(targets, **objects)
            )[:1]
        packed = to_host(torch.cat([part.flatten() for part in parts]))
        return packed[boxes.numel() :].view(shape), packed[: boxes.numel()].view(-1, 4)


@dataclass
class MatchedFrame:
    """A frame's predictions and the objects assigned to them."""

    outputs: DetectorOutputs
    matches: TrackletMatches


@MODELS.register_module()
class MOTRHead(FDTAHead):
    """Deformable DETR's head with the collective average loss.

    The losses of all frames and queries of a clip are summed and divided by the number
    of objects (arXiv 2105.03247, Sec. 3.6): those in the frames and, as in the released
    code, those that a query follows while they are not visible.

    Args:
        *args: Arguments of :class:`FDTAHead`.
        **kwargs: As ``args``.
    """

    def loss_clips(
        self, frames: list[MatchedFrame], targets: ClipTargets
    ) -> dict[str, Tensor]:
        """Compute the losses of complete clips, in float32 also under AMP.

        Args:
            frames: All F frames of a batch of clips.
            targets: Their ground truth.

        Returns:
            Losses; the last layer's without a prefix, the others with ``d0.``, ``d1.``
            ...
        """
        with torch.autocast(targets.boxes.device.type, enabled=False):
            return self._loss_clips(frames, targets)

    def _loss_clips(
        self, frames: list[MatchedFrame], targets: ClipTargets
    ) -> dict[str, Tensor]:
        """Compute :meth:`loss_clips` in float32."""
        outputs = [frame.outputs.float() for frame in frames]
        cls_scores = torch.cat([o.cls_scores for o in outputs], dim=2)
        bbox_preds = torch.cat([o.bbox_preds for o in outputs], dim=2)
        query_idx = _joint_index(frames)[:, None]
        lost = sum(frame.matches.num_lost for frame in frames)
        num_objects = bbox_preds.new_full((), sum(targets.num_valid) + lost)
        num_objects = reduce_mean(num_objects).clamp(min=1)
        return self._loss_layers(
            cls_scores,
            bbox_preds,
            MatchedPairs.from_index(query_idx, cls_scores.device),
            _joint_targets(targets),
            num_objects,
        )


def _joint_index(frames: list[MatchedFrame]) -> Tensor:
    """Return the queries (L, sum of M) of all objects, numbered across all frames."""
    first, parts = 0, []
    for frame in frames:
        index = frame.matches.query_idx
        parts.append(torch.where(index >= 0, index + first, -1))
        first += frame.outputs.cls_scores.shape[2]
    return torch.cat(parts, dim=1)


def _joint_targets(targets: ClipTargets) -> ClipTargets:
    """Return the objects of all frames as if they were in one frame."""
    # On the host, where the numbers of boxes are known.
    valid = (
        torch.arange(targets.valid.shape[1]) < torch.tensor(targets.num_valid)[:, None]
    )
    places = valid.flatten().nonzero()[:, 0]
    (index,) = to_device([places], targets.boxes.device)

    def join(values: Tensor) -> Tensor:
        return values.flatten(0, 1).index_select(0, index)[None]

    return replace(
        targets,
        boxes=join(targets.boxes),
        labels=join(targets.labels),
        identities=join(targets.identities),
        valid=join(targets.valid),
        # Boxes are relative to their own frames, and neither L1 nor GIoU changes
        # when both axes of a pair are scaled.
        image_sizes=torch.ones_like(targets.image_sizes[:1]),
        num_valid=[len(places)],
    )
