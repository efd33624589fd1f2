# Copyright (c) mmfdta authors.
"""Deformable DETR that also hands on embeddings and depth."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from mmdet.models.detectors import DeformableDETR
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.utils import InstanceList, OptConfigType
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmfdta.utils.shared_sizes import Place, share_number

from ..adapters import DepthFeatures
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

    _frame_dim = dict(cls_scores=1, bbox_preds=1, embeddings=0, depth_logits=0)

    @classmethod
    def merge(cls, parts: list['DetectorOutputs'], order: Tensor) -> 'DetectorOutputs':
        """Concatenate over frames and bring the frames into ``order``.

        Args:
            parts: Outputs of disjoint frames.
            order: (F,) position in the concatenation of frame i.
        """
        merged = {}
        for field in fields(cls):
            values = [getattr(part, field.name) for part in parts]
            dim = cls._frame_dim[field.name]
            if values[0] is not None:
                merged[field.name] = torch.cat(values, dim).index_select(dim, order)
        return cls(**merged)

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
class FDTADetector(DeformableDETR):
    """The detector of FDTA. Frames never see each other in it.

    MMDetection's Deformable DETR (iterative box refinement, one stage) whose
    decoder layers also attend to the depth embedding of the Spatial Adapter.
    Without the adapter it is Deformable DETR. Figure 2 of the paper.

    Args:
        spatial_adapter: Config of the Spatial Adapter; None takes the depth branch out.
            It has the channels of the detector, and its ``num_bins`` are also those of
            ``bbox_head.loss_depth``.
        bbox_head: Config of :class:`FDTAHead`.
        as_two_stage: Has to be False.
        **kwargs: Arguments of MMDetection's ``DeformableDETR``.

    Raises:
        ValueError: If ``as_two_stage`` is set, or numbers do not agree.
    """

    def __init__(
        self,
        *args,
        spatial_adapter: OptConfigType = None,
        bbox_head: OptConfigType = None,
        as_two_stage: bool = False,
        **kwargs,
    ) -> None:
        refuse_two_stages(as_two_stage)
        bbox_head = dict(bbox_head or {})
        adapter, loss = share_depth_bins(spatial_adapter, bbox_head.get('loss_depth'))
        if loss is not None:
            bbox_head['loss_depth'] = loss
        self.spatial_adapter = adapter
        super().__init__(*args, bbox_head=bbox_head, **kwargs)

    def _init_layers(self) -> None:
        decoder = self.decoder
        super()._init_layers()
        # MMDetection allocates it without values; only `init_weights` would fill it.
        nn.init.normal_(self.level_embed)
        layer_cfg = dict(decoder['layer_cfg'])
        if self.spatial_adapter is not None:
            layer_cfg.setdefault('depth_attn_cfg', dict(layer_cfg['self_attn_cfg']))
            adapter = dict(self.spatial_adapter)
            share_number(
                'model.detector.bbox_head.embed_dims',
                self.embed_dims,
                [Place('model.detector.spatial_adapter', adapter, 'embed_dims')],
                default=self.embed_dims,
            )
            self.spatial_adapter = MODELS.build(adapter)
        self.decoder = FDTADecoder(**{**decoder, 'layer_cfg': layer_cfg})

    def pre_transformer(
        self, mlvl_feats: tuple[Tensor, ...], batch_data_samples: SampleList
    ) -> tuple[dict, dict]:
        """Prepare encoder and decoder inputs; run the Spatial Adapter.

        Args:
            mlvl_feats: Neck levels (F, C, h, w), finest first.
            batch_data_samples: Frames with ``img_shape`` and ``batch_input_shape``.

        Returns:
            As MMDetection's; the second also has ``depth``.
        """
        encoder_inputs, decoder_inputs = super().pre_transformer(
            mlvl_feats, batch_data_samples
        )
        if self.spatial_adapter is not None:
            finest = mlvl_feats[0]
            tokens = finest.shape[-2] * finest.shape[-1]
            mask = encoder_inputs['feat_mask']
            if mask is not None:
                mask = mask[:, :tokens]
                pos = self.positional_encoding(mask.view(-1, *finest.shape[-2:]))
            else:
                pos = self.positional_encoding(None, input=finest)
            pos = pos.flatten(2).transpose(1, 2)
            feats = [feat.detach() for feat in mlvl_feats[:3]]
            decoder_inputs['depth'] = self.spatial_adapter(feats, mask, pos)
        return encoder_inputs, decoder_inputs

    def forward_decoder(
        self,
        query: Tensor,
        query_pos: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None,
        reference_points: Tensor,
        spatial_shapes: Tensor,
        level_start_index: Tensor,
        valid_ratios: Tensor,
        depth: DepthFeatures | None = None,
    ) -> dict:
        """Run the decoder; as MMDetection's, with the depth features besides."""
        hidden_states, references = self.decoder(
            query=query,
            query_pos=query_pos,
            value=memory,
            key_padding_mask=memory_mask,
            reference_points=reference_points,
            spatial_shapes=spatial_shapes,
            level_start_index=level_start_index,
            valid_ratios=valid_ratios,
            reg_branches=self.bbox_head.reg_branches if self.with_box_refine else None,
            depth=depth,
        )
        return dict(
            hidden_states=hidden_states,
            references=[reference_points, *references],
            depth=depth,
        )

    def detect(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> DetectorOutputs:
        """Run backbone, transformer and head.

        Args:
            batch_inputs: Normalised frames (F, 3, H, W).
            batch_data_samples: Their meta information.

        Returns:
            Raw outputs of all decoder layers.
        """
        return self._forward(batch_inputs, batch_data_samples)


def share_depth_bins(
    adapter: OptConfigType, loss: OptConfigType
) -> tuple[dict | None, dict | None]:
    """Hand the number of depth bins down to the Spatial Adapter and its loss.

    Args:
        adapter: Config of the adapter.
        loss: Config of the depth loss.

    Returns:
        The two configs with the number.

    Raises:
        ValueError: If they say different numbers.
    """
    adapter, loss = (None if part is None else dict(part) for part in (adapter, loss))
    detector = 'model.detector'
    share_number(
        f'{detector}.spatial_adapter.num_bins',
        None,
        [
            Place(f'{detector}.spatial_adapter', adapter, 'num_bins'),
            Place(f'{detector}.bbox_head.loss_depth', loss, 'num_bins'),
        ],
        default=150,
    )
    return adapter, loss


def refuse_two_stages(as_two_stage: bool) -> None:
    """Raise a ValueError if a detector is to make proposals first."""
    if as_two_stage:
        raise ValueError(
            'model.detector.as_two_stage: found True, expected False; the head has no '
            'loss for the proposals of a first stage, which would stay untrained'
        )
