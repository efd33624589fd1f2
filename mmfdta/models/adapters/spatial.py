# Copyright (c) mmfdta authors.
"""Spatial Adapter: depth-aware features from monocular depth supervision."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmdet.utils import OptMultiConfig
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmfdta.utils.depth import lid_bin_values

from ..layers import TransformerEncoderLayer


class DepthFeatures(NamedTuple):
    """What the Spatial Adapter hands on; h, w are the stride-8 map's size."""

    logits: Tensor
    """Depth-bin logits (F, D + 1, h, w)."""
    embed: Tensor
    """Depth embedding (F, h * w, C), keys and values of the decoder."""
    mask: Tensor | None
    """Padding mask (F, h * w), True = padding; None without padding."""
    expected: Tensor
    """Expected depth (F, h, w) in [depth_min, depth_max]."""


@MODELS.register_module()
class SpatialAdapter(BaseModule):
    """Predict depth bins and a depth embedding from the detector's features.

    The detector hands its features over detached, so that depth supervision
    shapes only the adapter; the decoder's queries attend to the embedding in
    every layer and so learn to tell apart what overlaps in the image but not in
    depth. Section 3.2 of the paper.

    Args:
        embed_dims: Channels C of features and embedding.
        num_bins: Number D of depth bins; one more stands for ``depth_max``. Must fit
            the checkpoint.
        depth_min: Smallest depth.
        depth_max: Largest depth; the position table has a row for each integer in
            0..depth_max.
        num_heads: Heads of the depth encoder.
        feedforward_channels: FFN channels of the depth encoder.
        dropout: Dropout of the depth encoder.
        num_groups: Groups of the normalisation layers.
        init_cfg: Initialisation config.
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
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg)
        norm_cfg = dict(type='GN', num_groups=num_groups)
        proj = dict(kernel_size=1, bias=True, norm_cfg=norm_cfg, act_cfg=None)
        conv = dict(kernel_size=3, padding=1, bias=True, norm_cfg=norm_cfg)
        self.depth_max = depth_max
        self.register_buffer(
            'bin_values', lid_bin_values(num_bins, depth_min, depth_max)
        )
        self.fine_proj = ConvModule(embed_dims, embed_dims, **proj)
        self.coarse_proj = ConvModule(embed_dims, embed_dims, **proj)
        self.depth_head = nn.Sequential(
            ConvModule(embed_dims, embed_dims, **conv),
            ConvModule(embed_dims, embed_dims, **conv),
        )
        self.depth_classifier = nn.Conv2d(embed_dims, num_bins + 1, 1)
        self.depth_encoder = TransformerEncoderLayer(
            embed_dims, num_heads, feedforward_channels, dropout
        )
        self.depth_embedding = nn.Embedding(int(depth_max) + 1, embed_dims)

    def forward(
        self, feats: tuple[Tensor, ...], mask: Tensor | None, pos: Tensor
    ) -> DepthFeatures:
        """Compute depth logits and embedding.

        Args:
            feats: Neck levels, finest first, each (F, C, h, w); the first three
                (strides 8, 16, 32) are used.
            mask: Padding (F, h * w) of the finest level.
            pos: Sine positions of the finest level, (F, h * w, C).

        Returns:
            Logits, embedding, mask and expected depth.
        """
        x = self.depth_head(self._fuse(*feats[:3]))
        logits = self.depth_classifier(x)
        expected = self._expected_depth(logits)
        visible = None if mask is None else ~mask[:, None, None]
        tokens = x.detach().flatten(2).transpose(1, 2)
        embed = self.depth_encoder(tokens, pos, visible)
        embed = embed + self.embed_depth(expected).flatten(1, 2).to(embed)
        return DepthFeatures(logits, embed, mask, expected)

    def _fuse(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """Average the three levels at the finest one's size."""
        size = fine.shape[-2:]
        fused = self.fine_proj(fine)
        for feat in (middle, coarse):
            feat = F.interpolate(feat, size, mode='bilinear')
            fused = fused + self.coarse_proj(feat)
        return fused / 3

    def _expected_depth(self, logits: Tensor) -> Tensor:
        """Mean depth (F, h, w); in half precision it would jump between rows."""
        with torch.autocast(logits.device.type, enabled=False):
            values = self.bin_values.float().view(-1, 1, 1)
            return (logits.float().softmax(1) * values).sum(1)

    def embed_depth(self, depth: Tensor) -> Tensor:
        """Look up the table at real-valued depths (F, h, w) -> (F, h, w, C)."""
        depth = depth.clamp(0, self.depth_max)
        lower = depth.detach().floor()
        fraction = (depth - lower)[..., None]
        lower = lower.long()
        upper = (lower + 1).clamp(max=self.depth_embedding.num_embeddings - 1)
        rows = (self.depth_embedding(i).to(depth) for i in (lower, upper))
        return torch.lerp(*rows, fraction)
