# Copyright (c) mmfdta authors.
"""Spatial Adapter: depth-aware features from monocular depth supervision."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmdet.utils import OptMultiConfig
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmfdta.utils.depth import lid_bin_values

from ..layers import TransformerEncoderLayer, scale_gradient


class DepthFeatures(NamedTuple):
    """Outputs of the Spatial Adapter; h, w are the size of the finest level."""

    logits: Tensor
    """Depth-bin logits (F, D + 1, h, w)."""
    embed: Tensor | None
    """Depth embedding (F, h * w, C), keys and values of the decoder; None if no query
    attends to it."""
    mask: Tensor | None
    """Padding mask (F, h * w), True = padding; None without padding."""
    expected: Tensor
    """Expected depth (F, h, w) in [depth_min, depth_max]."""


@MODELS.register_module()
class SpatialAdapter(BaseModule):
    """Predict depth bins and a depth embedding from the detector's features.

    The detector's features are detached, so that depth supervision trains only the
    adapter. The decoder's queries attend to the embedding in every layer, and so learn
    to distinguish objects that overlap in the image but not in depth. Section 3.2 of
    the paper.

    Two switches are not in the paper. With ``feature_gradient`` the detector's backbone
    and neck also learn from depth. Without ``with_embedding`` depth is only an
    additional training task, and testing does not need the adapter. It then gets no
    step from clips without depth maps, see ``GroupClipOptimWrapper``.

    Args:
        embed_dims: Channels C of features and embedding.
        num_bins: Number D of depth bins; there is one more for ``depth_max``. Must fit
            the checkpoint.
        depth_min: Smallest depth.
        depth_max: Largest depth; the position table has a row for each integer in
            0..depth_max.
        num_heads: Heads of the depth encoder.
        feedforward_channels: FFN channels of the depth encoder.
        dropout: Dropout of the depth encoder.
        num_groups: Groups of the normalisation layers.
        num_levels: Neck levels that are averaged, from 1 to 3. By default a detector
            sets it to 3, or to its number of levels.
        first_level: Index of the finest of them. 1 leaves out a level of stride 4,
            whose map is four times as large.
        with_embedding: Compute the embedding; without it no query attends to depth.
        feature_gradient: Factor of the gradients that reach the detector through its
            features: that of the depth loss, and that of the queries' losses through
            the expected depth. 0, as released, detaches the features.
        init_cfg: Initialisation config.

    Raises:
        ValueError: If there are not 1 to 3 levels, or the factor is negative or not
            finite.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_bins: int = 150,
        depth_min: float = 1e-3,
        depth_max: float = 256.0,
        num_heads: int = 8,
        feedforward_channels: int = 256,
        dropout: float = 0.1,
        num_groups: int = 32,
        num_levels: int = 3,
        first_level: int = 0,
        with_embedding: bool = True,
        feature_gradient: float = 0.0,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg)
        if not 1 <= num_levels <= 3:
            raise ValueError(
                f'SpatialAdapter: found num_levels={num_levels}, expected 1 to 3'
            )
        if not 0 <= feature_gradient < math.inf:
            raise ValueError(
                f'SpatialAdapter: found feature_gradient={feature_gradient}, expected '
                'a finite number that is not negative'
            )
        self.num_levels = num_levels
        self.first_level = first_level
        self.with_embedding = with_embedding
        self.may_rest = not with_embedding
        self.feature_gradient = feature_gradient
        norm_cfg = dict(type='GN', num_groups=num_groups)
        proj = dict(kernel_size=1, bias=True, norm_cfg=norm_cfg, act_cfg=None)
        conv = dict(kernel_size=3, padding=1, bias=True, norm_cfg=norm_cfg)
        self.depth_max = depth_max
        self.register_buffer(
            'bin_values', lid_bin_values(num_bins, depth_min, depth_max)
        )
        self.fine_proj = ConvModule(embed_dims, embed_dims, **proj)
        if num_levels > 1:
            self.coarse_proj = ConvModule(embed_dims, embed_dims, **proj)
        self.depth_head = nn.Sequential(
            ConvModule(embed_dims, embed_dims, **conv),
            ConvModule(embed_dims, embed_dims, **conv),
        )
        self.depth_classifier = nn.Conv2d(embed_dims, num_bins + 1, 1)
        if with_embedding:
            self.depth_encoder = TransformerEncoderLayer(
                embed_dims, num_heads, feedforward_channels, dropout
            )
            self.depth_embedding = nn.Embedding(int(depth_max) + 1, embed_dims)

    def forward(
        self, feats: tuple[Tensor, ...], mask: Tensor | None, pos: Tensor
    ) -> DepthFeatures:
        """Compute depth logits and embedding.

        Args:
            feats: All neck levels (F, C, h, w), finest first.
            mask: Padding (F, h * w) bool of the finest level that is used, True =
                padding; None without padding.
            pos: Sine positions of that level, (F, h * w, C) or (1, h * w, C).

        Returns:
            Logits, embedding, mask and expected depth.

        Raises:
            ValueError: If there are fewer levels.
        """
        used = feats[self.first_level : self.first_level + self.num_levels]
        if len(used) < self.num_levels:
            raise ValueError(
                f'SpatialAdapter: found {len(feats)} levels of features, expected '
                f'first_level + num_levels = {self.first_level} + {self.num_levels}; '
                'lower one of them'
            )
        used = tuple(scale_gradient(feat, self.feature_gradient) for feat in used)
        x = self.depth_head(self._fuse(*used))
        logits = self.depth_classifier(x)
        expected = self._expected_depth(logits)
        if not self.with_embedding:
            return DepthFeatures(logits, None, mask, expected)
        visible = None if mask is None else ~mask[:, None, None]
        tokens = x.detach().flatten(2).transpose(1, 2)
        embed = self.depth_encoder(tokens, pos, visible)
        embed = embed + self.embed_depth(expected).flatten(1, 2).to(embed)
        return DepthFeatures(logits, embed, mask, expected)

    def _fuse(self, fine: Tensor, *coarser: Tensor) -> Tensor:
        """Average the levels at the finest one's size."""
        size = fine.shape[-2:]
        fused = self.fine_proj(fine)
        for feat in coarser:
            feat = F.interpolate(feat, size, mode='bilinear')
            fused = fused + self.coarse_proj(feat)
        return fused / (1 + len(coarser))

    def _expected_depth(self, logits: Tensor) -> Tensor:
        """Return the mean depth (F, h, w); half precision would be too coarse."""
        with torch.autocast(logits.device.type, enabled=False):
            values = self.bin_values.float().view(-1, 1, 1)
            return (logits.float().softmax(1) * values).sum(1)

    def embed_depth(self, depth: Tensor) -> Tensor:
        """Interpolate the table at real-valued depths (F, h, w) -> (F, h, w, C)."""
        depth = depth.clamp(0.0, self.depth_max)
        lower = depth.detach().floor()
        fraction = (depth - lower)[..., None]
        lower = lower.long()
        upper = (lower + 1).clamp(max=self.depth_embedding.num_embeddings - 1)
        rows = (self.depth_embedding(i).to(depth) for i in (lower, upper))
        return torch.lerp(*rows, fraction)
