# Copyright (c) mmfdta authors.
"""How a detector of MMDetection is read: the one place that knows its insides."""

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
"""Logit of a query that its detector has ruled out; its score is 0."""


@TASK_UTILS.register_module()
class DetrInterface:
    """What :class:`QueryDetector` asks about the detector that it holds, its host.

    Of each batch of frames it asks for :meth:`features`, hands them to :meth:`decode`,
    and what that returns to :meth:`embeddings`, :meth:`predictions` and, in training,
    :meth:`losses`. The methods are written for MMDetection's ``DetectionTransformer``:
    DETR, Conditional DETR, DAB-DETR, Deformable DETR of one or two stages, DINO and
    DDQ. A detector that is built otherwise takes a subclass with those methods that
    differ, and a config names it: ``interface=dict(type='MyInterface')``.

    It holds nothing: what it reads is in the host, and in what it is handed.
    """

    def prepare(self, host: nn.Module) -> None:
        """Refuse a host that the other methods cannot read, or complete it.

        Args:
            host: As it was built.

        Raises:
            ValueError: In one line, with the key of the config.
        """
        key = 'model.detector.host'
        if isinstance(host, FrameDetector):
            raise ValueError(
                f'{key}.type: {type(host).__name__} is a detector of this project, '
                'which tracks without a QueryDetector around it; put it at '
                'model.detector'
            )
        is_known = isinstance(host, DetectionTransformer)
        if (
            not is_known
            or 'text_dict' in signature(host.forward_transformer).parameters
        ):
            raise ValueError(
                f'{key}.type: found {type(host).__name__}, expected a '
                'DetectionTransformer of MMDetection that takes images alone, such as '
                "'DINO'; another detector needs model.detector.interface, see "
                'docs/any_detector.md'
            )
        if host.bbox_head.embed_dims != host.embed_dims:
            raise ValueError(
                f'{key}.bbox_head.embed_dims = {host.bbox_head.embed_dims}, but the '
                f'transformer has {host.embed_dims} channels; they must be equal'
            )
        if hasattr(host, 'level_embed'):
            # MMDetection allocates it, and only `init_weights` would fill it.
            nn.init.normal_(host.level_embed)
        if hasattr(host.bbox_head, 'aux_reg_branches'):
            # DDQ's decoder takes them from the head in its first training step; with
            # them from the start, weights have the same names before and after.
            host.decoder.aux_reg_branches = host.bbox_head.aux_reg_branches

    def embed_dims(self, host: nn.Module) -> int:
        """Channels C of neck and queries."""
        return host.embed_dims

    def decoder_layers(self, host: nn.Module) -> list[nn.Module]:
        """The L layers that the queries go through, first to last.

        Each has an ``ffn`` that takes the queries (F, Q, C); right before it they
        attend to depth, if the detector has a Spatial Adapter.
        """
        return [*host.decoder.layers]

    def num_levels(self, host: nn.Module) -> int:
        """Levels that :meth:`features` gives."""
        return getattr(host, 'num_feature_levels', 1)

    def features(self, host: nn.Module, imgs: Tensor) -> tuple[Tensor, ...]:
        """Neck levels (F, C, h, w), finest first, of frames (F, 3, H, W)."""
        return tuple(host.extract_feat(imgs))

    def positions(self, host: nn.Module, feat: Tensor, mask: Tensor | None) -> Tensor:
        """Sine positions of a level, which the Spatial Adapter takes.

        The host's, or normalised ones where it has none.

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
        """Run the queries through the host.

        Args:
            host: The detector, in training or evaluation mode.
            feats: What :meth:`features` returned.
            frames: With ``img_shape`` and ``batch_input_shape``, and in training with
                ``gt_instances`` on the device of the features.

        Returns:
            Whatever the other methods need, here the arguments of the host's head.
        """
        return host.forward_transformer(feats, frames)

    def embeddings(self, host: nn.Module, decoded: dict[str, Any]) -> Tensor:
        """Object embeddings (F, Q, C): the last decoder layer's output."""
        return self.layer_embeddings(host, decoded)[-1]

    def layer_embeddings(self, host: nn.Module, decoded: dict[str, Any]) -> Tensor:
        """What the L decoder layers give the queries, (L, F, Q, C)."""
        return decoded['hidden_states'][:, :, self.objects(decoded)]

    def predictions(
        self, host: nn.Module, decoded: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """Read the classes and boxes that all decoder layers give the queries.

        Args:
            host: The detector.
            decoded: What :meth:`decode` returned.

        Returns:
            Class logits (L, F, Q, K), of which the sigmoid is the host's score, also
            where that is a softmax; and boxes (L, F, Q, 4), cxcywh in 0..1 of the
            unpadded image.
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
        """Compute all losses that the host is trained with.

        Args:
            host: The detector.
            decoded: What :meth:`decode` returned in training.
            frames: As there.

        Returns:
            Those of matched queries, and where it has them of denoising queries, of
            the proposals of a first stage and of dense queries; averaged over boxes.
        """
        losses = host.bbox_head.loss(**decoded, batch_data_samples=frames)
        losses = {
            name: sum(value) if isinstance(value, list) else value.sum()
            for name, value in losses.items()
        }
        generator = getattr(host, 'dn_query_generator', None)
        if generator is not None:
            # Frames without objects have no denoising queries; the embedding takes part
            # nevertheless, as every parameter has to where processes train together.
            losses['loss_cls'] += sum(p.sum() for p in generator.parameters()) * 0.0
        return losses

    def objects(self, decoded: dict[str, Any]) -> slice:
        """Which queries are for objects: not those that only training has.

        Denoising queries come before them, and DDQ's dense queries after.
        """
        more = decoded.get('dn_meta') or {}
        total = decoded['hidden_states'].shape[2]
        return slice(
            more.get('num_denoising_queries', 0),
            total - more.get('num_dense_queries', 0),
        )

    def _distinct(self, host: nn.Module, cls_scores: Tensor) -> Tensor | None:
        """DDQ's distinct queries (L, F, Q) of the frames that it has just decoded."""
        found = getattr(host, 'cache_dict', {}).get('distinct_query_mask')
        if not found:
            return None
        frames, queries = cls_scores.shape[1:3]
        # Of the attention masks that it made after each layer but the last one, its
        # head reads the first row of the first attention head.
        rows = [mask.view(frames, -1, queries, queries)[:, 0, 0] for mask in found]
        return torch.stack([torch.ones_like(rows[0]), *rows])


def sigmoid_logits(cls_scores: Tensor, loss_cls: nn.Module) -> Tensor:
    """Turn a head's class scores into logits whose sigmoid is the score.

    Args:
        cls_scores: (..., K), or (..., K + 1) with the background last.
        loss_cls: The head's loss, which says whether its scores are a softmax.

    Returns:
        (..., K).
    """
    if loss_cls.use_sigmoid:
        return cls_scores
    log_prob = cls_scores.log_softmax(-1)[..., :-1]
    log_other = log_prob.exp().neg().log1p()
    return log_prob - log_other.clamp(min=NO_DETECTION)
