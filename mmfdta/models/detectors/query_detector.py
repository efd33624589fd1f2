# Copyright (c) mmfdta authors.
"""Any detector of MMDetection whose queries become objects, as a detector of FDTA."""

from copy import deepcopy
from functools import partial
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample, SampleList
from mmdet.utils import ConfigType, OptConfigType, OptMultiConfig, reduce_mean
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmfdta.utils.transfers import to_device, to_float32

from ..adapters import DepthFeatures
from .base import padded_sizes, padding_of
from .depth import (
    WITHOUT_ADAPTER,
    build_spatial_adapter,
    depth_losses,
    share_depth_bins,
)
from .depth_attention import DepthLayers
from .detr_interface import NO_DETECTION
from .matcher import ClipMatches, ClipTargets
from .outputs import DetectorOutputs, HostOutputs

# Coordinate far outside the image, in sizes of the image.
_FAR = 1e3


@MODELS.register_module()
class QueryDetector(BaseDetector):
    """Any query detector of MMDetection, the host, as the detector of FDTA.

    The host detects and is trained as in MMDetection, with all losses of its own head.
    An interface reads its object embeddings, class scores and boxes. With a Spatial
    Adapter, all its queries attend to depth in every decoder layer, as in
    :class:`FDTADetector`; the host itself does not change, see :class:`DepthLayers`.

    Args:
        host: Config of the detector, as in MMDetection: ``DINO``, ``DDQDETR``,
            ``DeformableDETR``, ``DABDETR``, ``ConditionalDETR``, ``DETR``...
        interface: Config of the interface; None uses :class:`DetrInterface`.
        matcher: Config of the matcher that selects the queries on which association is
            trained; None uses :class:`ClipMatcher`.
        spatial_adapter: Config of the Spatial Adapter; None for no depth. It has the
            channels of the host, and its ``num_bins``, ``depth_min`` and ``depth_max``
            are also those of ``loss_depth``.
        loss_depth: Config of the depth loss; None turns it off.
        depth_attn_cfg: Arguments of :class:`DepthAttention`; by default those of the
            self-attention of the host's decoder.
        data_preprocessor: Config of the data preprocessor, for a detector without a
            tracker.
        init_cfg: Initialisation config.

    Attributes:
        embed_dims: Channels C of the embeddings.
        num_layers: Number of decoder layers L.

    Raises:
        ValueError: If the interface cannot read the host, numbers do not agree, or
            there is a depth loss without a Spatial Adapter.
    """

    spatial_adapter: nn.Module | None
    depth_layers: DepthLayers | None
    loss_depth: nn.Module | None

    def __init__(
        self,
        host: ConfigType,
        interface: OptConfigType = None,
        matcher: OptConfigType = None,
        spatial_adapter: OptConfigType = None,
        loss_depth: OptConfigType = None,
        depth_attn_cfg: OptConfigType = None,
        data_preprocessor: OptConfigType = None,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if host.get('data_preprocessor') is not None:
            raise ValueError(
                'model.detector.host.data_preprocessor: nothing would call it; leave '
                'it out, and set model.data_preprocessor'
            )
        if isinstance(interface, str):
            raise ValueError(
                f'model.detector.interface: found {interface!r}, expected a dict; '
                f'write dict(type={interface!r})'
            )
        if spatial_adapter is None and loss_depth is not None:
            raise ValueError(f'model.detector.loss_depth {WITHOUT_ADAPTER}')
        # MMDetection changes the config it builds from, and reads its keys as
        # attributes.
        self.host = MODELS.build(ConfigDict(deepcopy(host)))
        # The fingerprint of stored detections includes it.
        self.interface_cfg = dict(interface or dict(type='DetrInterface'))
        self.interface = TASK_UTILS.build(self.interface_cfg)
        self.interface.prepare(self.host)
        self.matcher = TASK_UTILS.build(matcher or dict(type='ClipMatcher'))
        self.embed_dims = self.interface.embed_dims(self.host)
        decoder_layers = self.interface.decoder_layers(self.host)
        self.num_layers = len(decoder_layers)
        self.spatial_adapter = self.depth_layers = self.loss_depth = None
        adapter, loss = share_depth_bins(
            spatial_adapter, loss_depth, 'model.detector.loss_depth'
        )
        if adapter is not None:
            self.spatial_adapter = build_spatial_adapter(
                adapter,
                self.embed_dims,
                'model.detector.host.bbox_head.embed_dims',
                self.interface.num_levels(self.host),
            )
            if self.spatial_adapter.with_embedding:
                self.depth_layers = DepthLayers(
                    decoder_layers, self.embed_dims, depth_attn_cfg
                )
            self.loss_depth = None if loss is None else MODELS.build(loss)

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the host's neck levels (F, C, h, w), finest first."""
        return self.interface.features(self.host, batch_inputs)

    def network(
        self, imgs: Tensor, frames: SampleList
    ) -> tuple[dict[str, Any], Tensor | None]:
        """Run everything except the head.

        Args:
            imgs: Normalised frames (F, 3, H, W).
            frames: Frames for :meth:`DetrInterface.decode`.

        Returns:
            Result of that method, and depth-bin logits (F, D + 1, h, w) or None.
        """
        feats = self.extract_feat(imgs)
        if self.spatial_adapter is None:
            return self.interface.decode(self.host, feats, frames), None
        shape = tuple(frames[0].batch_input_shape)
        depth = self.see_depth(feats, shape, padded_sizes(frames, imgs.device))
        if self.depth_layers is None:
            return self.interface.decode(self.host, feats, frames), depth.logits
        layers = self.interface.decoder_layers(self.host)
        with self.depth_layers.attending(layers, depth):
            return self.interface.decode(self.host, feats, frames), depth.logits

    def see_depth(
        self,
        feats: tuple[Tensor, ...],
        shape: tuple[int, int],
        sizes: Tensor | None,
    ) -> DepthFeatures:
        """Run the Spatial Adapter.

        Args:
            feats: All neck levels (F, C, h, w), finest first.
            shape: Height and width of the padded frames, in pixels.
            sizes: See :func:`padded_sizes`.
        """
        adapter = self.spatial_adapter
        assert adapter is not None
        finest = feats[min(adapter.first_level, len(feats) - 1)].detach()
        mask = None
        if sizes is not None:
            level = finest.shape[-2], finest.shape[-1]
            (mask,), _ = padding_of(sizes, shape, (level,))
        positions = self.interface.positions(self.host, finest, mask)
        return adapter(
            feats,
            None if mask is None else mask.flatten(1),
            positions.flatten(2).transpose(1, 2),
        )

    def detect(
        self, imgs: Tensor, frames: SampleList, recompute: bool = False
    ) -> DetectorOutputs:
        """Run the host on frames, see :meth:`ClipDetector.detect`.

        In training class scores and boxes have no gradients; the host's own losses
        have, and are part of the outputs if gradients are enabled. With ``recompute``
        these losses are not recomputed: a second matching would take as long as the
        first, and each loss would synchronise the processes once more.

        Args:
            imgs: Normalised frames (F, 3, H, W).
            frames: Their meta information, and in training ``gt_instances``.
            recompute: Activation checkpointing of everything except the head.

        Returns:
            Raw outputs of all decoder layers, without queries that only training has.
        """
        if self.training:
            frames = annotations_on(imgs.device, frames)
        run = self.network
        if recompute:
            run = partial(checkpoint, self.network, use_reentrant=False)
        decoded, depth_logits = run(imgs, frames)
        wants_losses = self.training and torch.is_grad_enabled()
        with torch.autocast(imgs.device.type, enabled=False):
            decoded = to_float32(decoded)
            with torch.set_grad_enabled(torch.is_grad_enabled() and not wants_losses):
                cls_scores, bbox_preds = self.interface.predictions(self.host, decoded)
            embeddings = self.interface.embeddings(self.host, decoded)
            outputs = HostOutputs(cls_scores, bbox_preds, embeddings, depth_logits)
            if wants_losses:
                outputs.losses = self._own_losses(decoded, frames)
                # At most as many objects as queries are matched.
                queries = embeddings.shape[1]
                outputs.num_boxes = sum(
                    min(len(frame.gt_instances), queries) for frame in frames
                )
        return outputs

    _forward = detect

    def detect_by_layer(
        self, imgs: Tensor, frames: SampleList
    ) -> tuple[DetectorOutputs, Tensor]:
        """Run the host and embed the queries of all layers; evaluation mode only.

        Args:
            imgs: Normalised frames (F, 3, H, W).
            frames: Their meta information.

        Returns:
            Result of :meth:`detect`, and embeddings (L, F, Q, C); the last layer's are
            those of the outputs.
        """
        decoded, depth_logits = self.network(imgs, frames)
        with torch.autocast(imgs.device.type, enabled=False):
            decoded = to_float32(decoded)
            layers = self.interface.layer_embeddings(self.host, decoded)
            scores, boxes = self.interface.predictions(self.host, decoded)
            return HostOutputs(scores, boxes, layers[-1], depth_logits), layers

    def _own_losses(
        self, decoded: dict[str, Any], frames: SampleList
    ) -> dict[str, Tensor]:
        """Compute the host's losses; predictions that are not finite raise an error.

        MMDetection cannot match them, and the losses of its heads wait for those of the
        other processes: there is no loss that a process could go on with alone.
        """
        try:
            return self.interface.losses(self.host, decoded, frames)
        except ValueError as error:
            if 'invalid numeric entries' not in str(error):
                raise
            raise FloatingPointError(
                f'{type(self.host).__name__} predicts NaN or Inf, so it cannot be '
                'matched to the ground truth. Lower the learning rate or train in '
                'float32.'
            ) from error

    def clip_losses(
        self,
        outputs: DetectorOutputs,
        targets: ClipTargets,
        depth_maps: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], ClipMatches]:
        """Return the host's losses and a matching.

        See :meth:`ClipDetector.clip_losses`.

        Args:
            outputs: Outputs for F frames.
            targets: Their ground truth.
            depth_maps: Pseudo depth (F, 1, H, W) in 0..255, see
                :func:`depth_losses`.

        Returns:
            Losses of the frames with gradients under MMDetection's names, the depth
            loss of all frames, and the matching of all frames in all decoder layers.
        """
        # Queries that the host has rejected must not be matched.
        rejected = outputs.cls_scores.amax(-1, keepdim=True) <= NO_DETECTION
        boxes = outputs.bbox_preds.masked_fill(rejected, _FAR)
        with torch.autocast(outputs.cls_scores.device.type, enabled=False):
            matches = self.matcher(outputs.cls_scores, boxes, targets)
            losses = merge_losses(outputs.loss_parts)
            if self.loss_depth is not None:
                # Every process waits here for the others, also without maps.
                num_boxes = outputs.bbox_preds.new_full((), sum(targets.num_valid))
                num_boxes = reduce_mean(num_boxes).clamp(min=1)
                losses |= depth_losses(
                    self.loss_depth, outputs.depth_parts, depth_maps, targets, num_boxes
                )
        return losses, matches

    def loss(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Compute the host's losses of single frames, to train the plain detector."""
        return merge_losses(self.detect(batch_inputs, batch_data_samples).loss_parts)

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True
    ) -> SampleList:
        """Detect for any tracker.

        Args:
            batch_inputs: Normalised frames (F, 3, H, W).
            batch_data_samples: Their meta information.
            rescale: Boxes in pixels of the original frame instead of the resized one.

        Returns:
            The frames with ``pred_instances``, see :meth:`DetectorOutputs.by_score`.
        """
        outputs = self.detect(batch_inputs, batch_data_samples)
        found = outputs.by_score(batch_data_samples, rescale)
        return self.add_pred_to_datasample(batch_data_samples, found)


def annotations_on(device: torch.device, frames: SampleList) -> SampleList:
    """Copy the annotations of frames to a device for MMDetection, in one copy.

    Args:
        device: The device.
        frames: F frames with ``gt_instances`` (``bboxes`` xyxy, ``labels``).

    Returns:
        New frames, with the same meta information.
    """
    annotated = [frame.gt_instances for frame in frames]
    counts = [len(gt) for gt in annotated]
    boxes, labels = to_device(
        [
            torch.cat([gt.bboxes for gt in annotated]).float(),
            torch.cat([gt.labels for gt in annotated]).long(),
        ],
        device,
    )
    copies = []
    parts = zip(frames, boxes.split(counts), labels.split(counts), strict=True)
    for frame, bboxes, classes in parts:
        copy = DetDataSample(metainfo=frame.metainfo)
        copy.gt_instances = InstanceData(bboxes=bboxes, labels=classes)
        copies.append(copy)
    return copies


def merge_losses(parts: list[tuple[dict[str, Tensor], int]]) -> dict[str, Tensor]:
    """Average the losses of parts of a batch, as if they were of the complete batch.

    This is exact for losses that are averaged over the boxes of all processes, but at
    least one, as those of matched queries are.

    Args:
        parts: Losses of each part, and its number of boxes.

    Returns:
        The losses of all.
    """
    if len(parts) == 1:
        return dict(parts[0][0])
    losses: dict[str, Tensor] = {}
    if not parts:
        return losses
    device = next(iter(parts[0][0].values())).device
    counts = torch.tensor([float(boxes) for _, boxes in parts])
    (counts,) = to_device([counts], device)
    counts = reduce_mean(counts)
    shares = counts.clamp(min=1) / counts.sum().clamp(min=1)
    for (values, _), share in zip(parts, shares, strict=True):
        for name, value in values.items():
            losses[name] = losses.get(name, 0) + value * share
    return losses
