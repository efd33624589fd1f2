# Copyright (c) mmfdta authors.
"""Deformable DETR that also hands on embeddings and depth."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import OptSampleList, SampleList
from mmdet.utils import InstanceList, OptConfigType
from mmengine.structures import InstanceData
from torch import Tensor

from ..adapters import DepthFeatures
from .base import FrameDetector, padded_sizes
from .depth import build_spatial_adapter, share_depth_bins
from .layers import FDTADecoder


@dataclass
class DetectorOutputs:
    """What the detector says about F frames, from L decoder layers."""

    cls_scores: Tensor
    """Class logits (L, F, Q, K)."""
    bbox_preds: Tensor
    """cxcywh in 0..1 of the unpadded image, (L, F, Q, 4)."""
    embeddings: Tensor
    """Last decoder layer's output, the object embeddings, (F, Q, C)."""
    depth_logits: Tensor | None = None
    """(F, D + 1, h, w); None without a Spatial Adapter."""

    @property
    def depth_parts(self) -> list[tuple[Tensor, Tensor | slice]]:
        """Depth logits (f, D + 1, h, w), and which of the F frames they are of."""
        if self.depth_logits is None:
            return []
        return [(self.depth_logits, slice(None))]

    def on_host(
        self, frames: SampleList, rescale: bool = True, with_embeddings: bool = True
    ) -> InstanceList:
        """Best class and box of every query, see :func:`host_detections`.

        Args:
            frames: The F frames.
            rescale: Boxes in pixels of their ``ori_shape`` and not ``img_shape``.
            with_embeddings: Hand on the embeddings too.
        """
        scores, labels = self.cls_scores[-1].sigmoid().max(-1)
        shapes = [frame.ori_shape if rescale else frame.img_shape for frame in frames]
        return host_detections(
            self.bbox_preds[-1],
            scores,
            labels,
            [shape[:2] for shape in shapes],
            self.embeddings if with_embeddings else None,
        )

    def float(self) -> 'DetectorOutputs':
        """Single-precision predictions; embeddings keep their type."""
        return replace(
            self, cls_scores=self.cls_scores.float(), bbox_preds=self.bbox_preds.float()
        )


@dataclass
class MergedOutputs(DetectorOutputs):
    """Outputs of frames that were detected in parts.

    Depth logits stay in parts: they are large, only their loss reads them, and those
    of frames without gradients need no backward pass.
    """

    merged_depth: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Depth logits (f, D + 1, h, w), and (f,) int64 which frames they are of."""

    @classmethod
    def of(
        cls, parts: Sequence[DetectorOutputs], frames: Sequence[Tensor]
    ) -> 'MergedOutputs':
        """Concatenate outputs and bring the frames into their order.

        Args:
            parts: Outputs of disjoint frames.
            frames: Which frames each of them is of, (f,) int64 on the device.
        """
        order = torch.cat([*frames]).argsort()

        def join(name: str, dim: int) -> Tensor:
            values = torch.cat([getattr(part, name) for part in parts], dim)
            return values.index_select(dim, order)

        return cls(
            join('cls_scores', 1),
            join('bbox_preds', 1),
            join('embeddings', 0),
            merged_depth=[
                (part.depth_logits, index)
                for part, index in zip(parts, frames, strict=True)
                if part.depth_logits is not None
            ],
        )

    @property
    def depth_parts(self) -> list[tuple[Tensor, Tensor | slice]]:
        """See :attr:`DetectorOutputs.depth_parts`."""
        return [*self.merged_depth]


def host_detections(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    image_sizes: Sequence[tuple[int, int]],
    embeddings: Tensor | None = None,
) -> InstanceList:
    """Bring the detections of F frames to the host, in one copy.

    Args:
        boxes: cxcywh in 0..1 of the image, (F, Q, 4).
        scores: (F, Q).
        labels: Classes (F, Q).
        image_sizes: Height and width of each frame, in pixels, to give the boxes for.
        embeddings: (F, Q, C); they stay where they are.

    Returns:
        Of each frame, in the order of the queries and on the CPU: ``bboxes`` (Q, 4)
        float32 xyxy in pixels, not clipped to the image; ``scores`` float32, ``labels``
        int64 and ``areas`` float32 (Q,), in square pixels; and ``embeddings`` (Q, C).
    """
    columns = [boxes, scores[..., None], labels[..., None]]
    packed = torch.cat([column.detach().float() for column in columns], dim=-1)
    found = []
    for i, (table, size) in enumerate(
        zip(packed.cpu().numpy(), image_sizes, strict=True)
    ):
        height, width = size
        scale = np.array([width, height, width, height], dtype=np.float32)
        centre, half = table[:, :2], 0.5 * table[:, 2:4]
        with np.errstate(invalid='ignore'):  # trackers refuse what is not finite
            corners = np.concatenate([centre - half, centre + half], axis=1) * scale
        instances = InstanceData(
            bboxes=torch.from_numpy(corners),
            scores=torch.from_numpy(table[:, 4].copy()),
            labels=torch.from_numpy(table[:, 5].astype(np.int64)),
            areas=torch.from_numpy(table[:, 2] * scale[0] * table[:, 3] * scale[1]),
        )
        if embeddings is not None:
            instances.embeddings = embeddings[i]
        found.append(instances)
    return found


@MODELS.register_module()
class FDTADetector(FrameDetector):
    """The detector of FDTA. Frames never see each other in it.

    MMDetection's Deformable DETR (iterative box refinement, one stage) whose
    decoder layers also attend to the depth embedding of the Spatial Adapter.
    Without the adapter it is Deformable DETR. Figure 2 of the paper.

    Args:
        spatial_adapter: Config of the Spatial Adapter; None takes the depth branch out.
            It has the channels of the detector, and its ``num_bins`` are also those of
            ``bbox_head.loss_depth``.
        bbox_head: Config of :class:`FDTAHead`.
        **kwargs: Arguments of MMDetection's ``DeformableDETR``; ``as_two_stage`` has to
            be False.

    Raises:
        ValueError: If ``as_two_stage`` is set, or numbers do not agree.
    """

    def __init__(
        self,
        *args,
        spatial_adapter: OptConfigType = None,
        bbox_head: OptConfigType = None,
        **kwargs,
    ) -> None:
        bbox_head = dict(bbox_head or {})
        adapter, loss = share_depth_bins(spatial_adapter, bbox_head.get('loss_depth'))
        if loss is not None:
            bbox_head['loss_depth'] = loss
        self.spatial_adapter = adapter
        super().__init__(*args, bbox_head=bbox_head, **kwargs)

    def _init_layers(self) -> None:
        decoder = self.decoder
        super()._init_layers()
        layer_cfg = dict(decoder['layer_cfg'])
        if self.spatial_adapter is not None:
            layer_cfg.setdefault('depth_attn_cfg', dict(layer_cfg['self_attn_cfg']))
            self.spatial_adapter = build_spatial_adapter(
                self.spatial_adapter,
                self.embed_dims,
                'model.detector.bbox_head.embed_dims',
                self.num_feature_levels,
            )
        self.decoder = FDTADecoder(**{**decoder, 'layer_cfg': layer_cfg})

    def decoder_features(
        self,
        feats: tuple[Tensor, ...],
        positions: Sequence[Tensor],
        masks: Sequence[Tensor] | None,
    ) -> dict:
        """Run the Spatial Adapter; see :meth:`FrameDetector.decoder_features`."""
        if self.spatial_adapter is None:
            return {}
        finest = self.spatial_adapter.first_level
        mask = None if masks is None else masks[finest]
        detached = [feat.detach() for feat in feats]
        return dict(depth=self.spatial_adapter(detached, mask, positions[finest]))

    def forward_decoder(  # type: ignore[override]
        self, *args, depth: DepthFeatures | None = None, **kwargs
    ) -> dict:
        """Run the decoder, with the depth features besides.

        Args:
            *args: As :meth:`FrameDetector.forward_decoder`.
            depth: Output of the Spatial Adapter.
            **kwargs: As ``args``.

        Returns:
            Arguments of the head.
        """
        return dict(super().forward_decoder(*args, depth=depth, **kwargs), depth=depth)

    def network(self, imgs: Tensor, sizes: Tensor | None = None) -> DetectorOutputs:
        """Run backbone, transformer and head: tensors in, tensors out.

        Args:
            imgs: Normalised frames (F, 3, H, W), padded at the right and bottom.
            sizes: Height and width of the frames without padding, int64 (F, 2); None if
                no frame is padded.

        Returns:
            Raw outputs of all decoder layers.
        """
        encoder_inputs, decoder_inputs = self.prepare(
            self.extract_feat(imgs), tuple(imgs.shape[-2:]), sizes
        )
        encoded = self.forward_encoder(**encoder_inputs)
        queries, head_inputs = self.pre_decoder(**encoded)
        head_inputs |= self.forward_decoder(**queries, **decoder_inputs)
        return self.bbox_head(**head_inputs)

    def detect(
        self, batch_inputs: Tensor, batch_data_samples: OptSampleList = None
    ) -> DetectorOutputs:
        """Run the network on frames.

        Args:
            batch_inputs: Normalised frames (F, 3, H, W).
            batch_data_samples: Their meta information; None if no frame is padded.

        Returns:
            Raw outputs of all decoder layers.
        """
        sizes = None
        if batch_data_samples is not None:
            sizes = padded_sizes(batch_data_samples, batch_inputs.device)
        return self.network(batch_inputs, sizes)

    _forward = detect
