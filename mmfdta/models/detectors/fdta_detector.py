# Copyright (c) mmfdta authors.
"""FDTA's detector: Deformable DETR that also returns embeddings and depth."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from mmdet.registry import MODELS
from mmdet.structures import OptSampleList, SampleList
from mmdet.utils import OptConfigType
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..adapters import DepthFeatures
from .base import FrameDetector, padded_sizes
from .depth import build_spatial_adapter, share_depth_bins
from .layers import FDTADecoder
from .matcher import ClipMatches, ClipTargets
from .outputs import DetectorOutputs


@MODELS.register_module()
class FDTADetector(FrameDetector):
    """The detector of FDTA, which processes each frame independently.

    MMDetection's Deformable DETR (iterative box refinement, one stage) whose decoder
    layers also attend to the depth embedding of the Spatial Adapter. Without the
    adapter it is Deformable DETR. Figure 2 of the paper.

    Args:
        spatial_adapter: Config of the Spatial Adapter; None removes the depth branch.
            It has the channels of the detector, and its ``num_bins``, ``depth_min`` and
            ``depth_max`` are also those of ``bbox_head.loss_depth``.
        depth_attn_cfg: Arguments of the depth attention in every decoder layer, see
            :class:`FDTADecoderLayer`; by default those of the self-attention.
        bbox_head: Config of :class:`FDTAHead`.
        **kwargs: Arguments of MMDetection's ``DeformableDETR``; ``as_two_stage`` must
            be False.

    Raises:
        ValueError: If ``as_two_stage`` is set, or numbers do not agree.
    """

    spatial_adapter: Any  # its config, until `_init_layers` builds it

    def __init__(
        self,
        *args: Any,
        spatial_adapter: OptConfigType = None,
        depth_attn_cfg: OptConfigType = None,
        bbox_head: OptConfigType = None,
        **kwargs: Any,
    ) -> None:
        bbox_head = dict(bbox_head or {})
        adapter, loss = share_depth_bins(spatial_adapter, bbox_head.get('loss_depth'))
        if loss is not None:
            bbox_head['loss_depth'] = loss
        self.spatial_adapter = adapter
        self.depth_attn_cfg = dict(depth_attn_cfg or {})
        super().__init__(*args, bbox_head=bbox_head, **kwargs)

    @property
    def num_layers(self) -> int:
        """Number of decoder layers L."""
        return self.decoder.num_layers

    def _init_layers(self) -> None:
        decoder = self.decoder
        super()._init_layers()
        layer_cfg = dict(decoder['layer_cfg'])
        if self.spatial_adapter is not None:
            self.spatial_adapter = build_spatial_adapter(
                self.spatial_adapter,
                self.embed_dims,
                'model.detector.bbox_head.embed_dims',
                self.num_feature_levels,
            )
            if self.spatial_adapter.with_embedding:
                like = layer_cfg.get('depth_attn_cfg') or layer_cfg['self_attn_cfg']
                layer_cfg['depth_attn_cfg'] = {**like, **self.depth_attn_cfg}
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
        return dict(depth=self.spatial_adapter(feats, mask, positions[finest]))

    def forward_decoder(
        self, *args: Any, depth: DepthFeatures | None = None, **kwargs: Any
    ) -> dict:
        """Run the decoder with depth features.

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
        return self.bbox_head(**self.decode(imgs, sizes))

    def decode(self, imgs: Tensor, sizes: Tensor | None = None) -> dict:
        """Run backbone and transformer, see :meth:`network`.

        Returns:
            Arguments of the head.
        """
        encoder_inputs, decoder_inputs = self.prepare(
            self.extract_feat(imgs), tuple(imgs.shape[-2:]), sizes
        )
        encoded = self.forward_encoder(**encoder_inputs)
        queries, head_inputs = self.pre_decoder(**encoded)
        head_inputs |= self.forward_decoder(**queries, **decoder_inputs)
        return head_inputs

    def detect_by_layer(
        self, imgs: Tensor, frames: SampleList
    ) -> tuple[DetectorOutputs, Tensor]:
        """Run the network, and return the embeddings of all decoder layers.

        Args:
            imgs: Normalised frames (F, 3, H, W).
            frames: Their meta information.

        Returns:
            Raw outputs, and embeddings (L, F, Q, C); the last layer's are those of the
            outputs.
        """
        decoded = self.decode(imgs, padded_sizes(frames, imgs.device))
        return self.bbox_head(**decoded), decoded['hidden_states']

    def detect(
        self,
        batch_inputs: Tensor,
        batch_data_samples: OptSampleList = None,
        recompute: bool = False,
    ) -> DetectorOutputs:
        """Run the network on frames, see :meth:`ClipDetector.detect`.

        Args:
            batch_inputs: Normalised frames (F, 3, H, W).
            batch_data_samples: Their meta information; None if no frame is padded.
            recompute: Activation checkpointing.

        Returns:
            Raw outputs of all decoder layers.
        """
        sizes = None
        if batch_data_samples is not None:
            sizes = padded_sizes(batch_data_samples, batch_inputs.device)
        run = self.network
        if recompute:
            run = partial(checkpoint, self.network, use_reentrant=False)
        return run(batch_inputs, sizes)

    _forward = detect

    def clip_losses(
        self,
        outputs: DetectorOutputs,
        targets: ClipTargets,
        depth_maps: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], ClipMatches]:
        """The head's losses and matching, see :meth:`ClipDetector.clip_losses`."""
        return self.bbox_head.loss_by_feat(outputs, targets, depth_maps)
