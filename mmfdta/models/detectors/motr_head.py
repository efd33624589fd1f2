# Copyright (c) mmfdta authors.
"""Detection head with MOTR's loss over whole clips."""

from dataclasses import dataclass, replace

import torch
from mmdet.registry import MODELS
from mmdet.utils import reduce_mean
from torch import Tensor

from .fdta_detector import DetectorOutputs
from .fdta_head import FDTAHead
from .matcher import ClipTargets
from .tracklet_matcher import TrackletMatches


@dataclass
class MatchedFrame:
    """A frame's predictions and the objects that they are trained on."""

    outputs: DetectorOutputs
    matches: TrackletMatches


@MODELS.register_module()
class MOTRHead(FDTAHead):
    """Deformable DETR's head with the collective average loss.

    The losses of all frames and queries of a clip are summed and divided by the
    number of objects (arXiv 2105.03247, Sec. 3.6): those in the frames and, as in
    the released code, those that a query follows out of sight.

    Args:
        *args: Arguments of :class:`FDTAHead`.
        **kwargs: The same.
    """

    def loss_clips(
        self, frames: list[MatchedFrame], targets: ClipTargets
    ) -> dict[str, Tensor]:
        """Losses of whole clips, under AMP in float32 too.

        Args:
            frames (list[MatchedFrame]): All F frames of a batch of clips.
            targets (ClipTargets): Their ground truth.

        Returns:
            dict[str, Tensor]: Losses, the last layer's plain, the others with a
            prefix ``d0.``, ``d1.`` ...
        """
        with torch.autocast(targets.boxes.device.type, enabled=False):
            return self._loss_clips(frames, targets)

    def _loss_clips(
        self, frames: list[MatchedFrame], targets: ClipTargets
    ) -> dict[str, Tensor]:
        """:meth:`loss_clips` in single precision."""
        outputs = [frame.outputs.float() for frame in frames]
        cls_scores = torch.cat([o.cls_scores for o in outputs], dim=2)
        bbox_preds = torch.cat([o.bbox_preds for o in outputs], dim=2)
        query_idx = _joint_index(frames).to(cls_scores.device)
        lost = sum(frame.matches.num_lost for frame in frames)
        num_objects = bbox_preds.new_tensor(float(sum(targets.num_valid) + lost))
        num_objects = reduce_mean(num_objects).clamp(min=1)
        joint = _joint_targets(targets)
        losses = {}
        last = len(cls_scores) - 1
        for layer in range(last + 1):
            prefix = '' if layer == last else f'd{layer}.'
            for name, value in self._loss_layer(
                cls_scores[layer],
                bbox_preds[layer],
                query_idx[layer, None],
                joint,
                num_objects,
            ).items():
                losses[prefix + name] = value
        return losses


def _joint_index(frames: list[MatchedFrame]) -> Tensor:
    """Queries (L, sum of M) of all objects, counted through all frames."""
    first, parts = 0, []
    for frame in frames:
        index = frame.matches.query_idx
        parts.append(torch.where(index >= 0, index + first, -1))
        first += frame.outputs.cls_scores.shape[2]
    return torch.cat(parts, dim=1)


def _joint_targets(targets: ClipTargets) -> ClipTargets:
    """The objects of all frames as if they were of one."""
    objects = targets.valid.nonzero(as_tuple=True)
    return replace(
        targets,
        boxes=targets.boxes[objects][None],
        labels=targets.labels[objects][None],
        identities=targets.identities[objects][None],
        valid=targets.valid[objects][None],
        # Boxes are relative to their own frames, and neither L1 nor GIoU changes
        # when both axes of a pair are scaled.
        image_sizes=torch.ones_like(targets.image_sizes[:1]),
        num_valid=[len(objects[0])],
    )
