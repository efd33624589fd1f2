# Copyright (c) mmfdta authors.
"""Reads a detector of MMDetection; only this interface depends on its internals."""

from inspect import signature
from typing import Any

import torch
from mmdet.models.detectors.base_detr import DetectionTransformer
from mmdet.models.layers import SinePositionalEncoding
from mmdet.registry import TASK_UTILS
from mmdet.structures import SampleList
from torch import Tensor, nn

from .base import FrameDetector

NO_DETECTION = -1e4
"""Logit of a query that its detector has rejected; its score is 0."""


@TASK_UTILS.register_module()
class DetrInterface:
    """The interface by which :class:`QueryDetector` uses its detector, the host.

    For each batch of frames it calls :meth:`features`, passes them to :meth:`decode`,
    and the result to :meth:`embeddings`, :meth:`predictions` and, in training,
    :meth:`losses`. The methods are for MMDetection's ``DetectionTransformer``: DETR,
    Conditional DETR, DAB-DETR, Deformable DETR of one or two stages, DINO and DDQ.
    Another detector needs a subclass with the methods that differ, which a config
    names: ``interface=dict(type='MyInterface')``.

    It has no state.
    """

    def prepare(self, host: nn.Module) -> None:
        """Check that the other methods can read a host, and complete it.

        Args:
            host: The detector after it was built.

        Raises:
            ValueError: If they cannot; the message has the key of the config.
        """
        key = 'model.detector.host'
        if isinstance(host, FrameDetector):
            raise ValueError(
                f'{key}.type: {type(host).__name__} is a detector of this project, '
                'which needs no QueryDetector around it; set it as model.detector'
            )
        is_known = isinstance(host, DetectionTransformer)
        if (
            not is_known
            or 'text_dict' in signature(host.forward_transformer).parameters
        ):
            raise ValueError(
                f'{key}.type: found {type(host).__name__}, expected a '
                'DetectionTransformer of MMDetection that takes only images, such as '
                "'DINO'; another detector needs model.detector.interface, see "
                'docs/any_detector.md'
            )
        if host.bbox_head.embed_dims != host.embed_dims:
            raise ValueError(
                f'{key}.bbox_head.embed_dims = {host.bbox_head.embed_dims}, but the '
                f'transformer has {host.embed_dims} channels; they must be equal'
            )
        if hasattr(host, 'level_embed'):
            # MMDetection allocates it without values, which only `init_weights` would
            # set.
            nn.init.normal_(host.level_embed)
        if hasattr(host.bbox_head, 'aux_reg_branches'):
            # DDQ's decoder gets them from the head in its first training step. If they
            # are set from the start, names of weights are the same before and after.
            host.decoder.aux_reg_branches = host.bbox_head.aux_reg_branches

    def embed_dims(self, host: nn.Module) -> int:
        """Return the channels C of neck and queries."""
        return host.embed_dims

    def decoder_layers(self, host: nn.Module) -> list[nn.Module]:
        """Return the L decoder layers in their order.

        Each has an ``ffn`` for the queries (F, Q, C); right before it they attend to
        depth, if the detector has a Spatial Adapter.
        """
        return [*host.decoder.layers]

    def num_levels(self, host: nn.Module) -> int:
        """Return the number of levels of :meth:`features`."""
        return getattr(host, 'num_feature_levels', 1)

    def features(self, host: nn.Module, imgs: Tensor) -> tuple[Tensor, ...]:
        """Return neck levels (F, C, h, w), finest first, of frames (F, 3, H, W)."""
        return tuple(host.extract_feat(imgs))

    def positions(self, host: nn.Module, feat: Tensor, mask: Tensor | None) -> Tensor:
        """Return the sine positions of a level for the Spatial Adapter.

        They are the host's, or normalised ones if it has none.

        Args:
            host: The detector.
            feat: The level (F, C, h, w).
            mask: Its padding (F, h, w) bool, True = padding; None without.

        Returns:
            (F, C, h, w), or (1, C, h, w) for all frames.
        """
        encoding = getattr(host, 'positional_encoding', None)
        if encoding is None:
            encoding = SinePositionalEncoding(feat.shape[1] // 2, normalize=True)
        return encoding(None, input=feat[:1]) if mask is None else encoding(mask)

    def decode(
        self, host: nn.Module, feats: tuple[Tensor, ...], frames: SampleList
    ) -> dict[str, Any]:
        """Run the host's transformer.

        Args:
            host: The detector, in training or evaluation mode.
            feats: Result of :meth:`features`.
            frames: Frames with ``img_shape`` and ``batch_input_shape``, and in training
                with ``gt_instances`` on the device of the features.

        Returns:
            Everything that the other methods need, here the arguments of the host's
            head.
        """
        return host.forward_transformer(feats, frames)

    def embeddings(self, host: nn.Module, decoded: dict[str, Any]) -> Tensor:
        """Return the object embeddings (F, Q, C), the last decoder layer's output."""
        return self.layer_embeddings(host, decoded)[-1]

    def layer_embeddings(self, host: nn.Module, decoded: dict[str, Any]) -> Tensor:
        """Return the outputs of the L decoder layers, (L, F, Q, C)."""
        return decoded['hidden_states'][:, :, self.objects(decoded)]

    def predictions(
        self, host: nn.Module, decoded: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """Return the classes and boxes that all decoder layers predict.

        Args:
            host: The detector.
            decoded: Result of :meth:`decode`.

        Returns:
            Class logits (L, F, Q, K), whose sigmoid is the host's score, also if that
            is a softmax; and boxes (L, F, Q, 4), cxcywh in 0..1 of the unpadded image.
        """
        head = host.bbox_head
        wanted = signature(head.forward).parameters
        cls_scores, bbox_preds = head(
            **{name: value for name, value in decoded.items() if name in wanted}
        )
        cls_scores = sigmoid_logits(cls_scores, head.loss_cls)
        objects = self.objects(decoded)
        cls_scores, bbox_preds = cls_scores[:, :, objects], bbox_preds[:, :, objects]
        distinct = self._distinct(host, cls_scores)
        if distinct is not None:
            cls_scores = cls_scores.masked_fill(~distinct[..., None], NO_DETECTION)
        return cls_scores, bbox_preds

    def losses(
        self, host: nn.Module, decoded: dict[str, Any], frames: SampleList
    ) -> dict[str, Tensor]:
        """Compute all losses with which the host is trained.

        Args:
            host: The detector.
            decoded: Result of :meth:`decode` in training.
            frames: The frames passed to it.

        Returns:
            Losses of matched queries and, if the host has them, of denoising queries,
            of the proposals of a first stage and of dense queries; averaged over boxes.
        """
        losses = host.bbox_head.loss(**decoded, batch_data_samples=frames)
        losses = {
            name: sum(value) if isinstance(value, list) else value.sum()
            for name, value in losses.items()
        }
        generator = getattr(host, 'dn_query_generator', None)
        if generator is not None:
            # Frames without objects have no denoising queries, but DDP needs a gradient
            # for every parameter.
            losses['loss_cls'] += sum(p.sum() for p in generator.parameters()) * 0.0
        return losses

    def objects(self, decoded: dict[str, Any]) -> slice:
        """Return which queries are for objects, without those that only training has.

        Denoising queries come before them, and DDQ's dense queries after.
        """
        more = decoded.get('dn_meta') or {}
        total = decoded['hidden_states'].shape[2]
        return slice(
            more.get('num_denoising_queries', 0),
            total - more.get('num_dense_queries', 0),
        )

    def _distinct(self, host: nn.Module, cls_scores: Tensor) -> Tensor | None:
        """Return DDQ's distinct queries (L, F, Q) of the last frames, or None."""
        found = getattr(host, 'cache_dict', {}).get('distinct_query_mask')
        if not found:
            return None
        frames, queries = cls_scores.shape[1:3]
        # DDQ makes an attention mask after each layer except the last one. Its head
        # reads the first row of the first attention head.
        rows = [mask.view(frames, -1, queries, queries)[:, 0, 0] for mask in found]
        return torch.stack([torch.ones_like(rows[0]), *rows])


def sigmoid_logits(cls_scores: Tensor, loss_cls: nn.Module) -> Tensor:
    """Convert a head's class scores to logits whose sigmoid is the score.

    Args:
        cls_scores: (..., K), or (..., K + 1) with the background last.
        loss_cls: The head's loss, which knows whether its scores are a softmax.

    Returns:
        (..., K).
    """
    if loss_cls.use_sigmoid:
        return cls_scores
    log_prob = cls_scores.log_softmax(-1)[..., :-1]
    log_other = log_prob.exp().neg().log1p()
    return log_prob - log_other.clamp(min=NO_DETECTION)
