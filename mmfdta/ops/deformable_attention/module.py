# Copyright (c) mmfdta authors.
"""MMCV's module of multi-scale deformable attention, computed by the operator."""

import torch
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttention
from torch import Tensor

from ..processor import is_exported
from .levels import LevelShapes, read_level_shapes
from .operator import deformable_sampling


class FastDeformableAttention(MultiScaleDeformableAttention):
    """MMCV's module, computed by `deformable_sampling`.

    A traced or exported module has PyTorch's own operations, as MMCV's does, unless
    `stays_operator` is set.
    """

    sample = staticmethod(deformable_sampling)
    stays_operator = False

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        *,
        reference_points: Tensor,
        spatial_shapes: Tensor,
        level_start_index: Tensor | None = None,
        level_shapes: LevelShapes | None = None,
        **kwargs: object,
    ) -> Tensor:
        """Sample the value around the reference points, and add the identity.

        Args:
            query: (B, Q, C), or (Q, B, C) without `batch_first`.
            key: Not used; part of the interface of attention.
            value: (B, S, C), or (S, B, C); the query if omitted.
            identity: Like the query; the query if omitted.
            query_pos: Added to the query.
            key_padding_mask: (B, S) bool, True = padding.
            reference_points: Points (B, Q, L, 2) or boxes (B, Q, L, 4), in 0..1.
            spatial_shapes: (H, W) of each level, int64 (L, 2).
            level_start_index: Not used; it follows from the shapes.
            level_shapes: The same sizes as numbers; read from the tensor if omitted,
                which waits for a GPU.
            **kwargs: Not used; part of the interface of attention.

        Returns:
            Like the query.
        """
        if is_exported() and not self.stays_operator:
            return super().forward(
                query,
                key,
                value,
                identity,
                query_pos,
                key_padding_mask,
                reference_points=reference_points,
                spatial_shapes=spatial_shapes,
                level_start_index=level_start_index,
                **kwargs,
            )
        value = query if value is None else value
        identity = query if identity is None else identity
        query = query if query_pos is None else query + query_pos
        if not self.batch_first:
            query, value = query.transpose(0, 1), value.transpose(0, 1)
        value = self.value_proj(value)
        if key_padding_mask is not None:
            value = value.masked_fill(key_padding_mask[..., None], 0.0)
        value = value.unflatten(-1, (self.num_heads, -1))
        grid = self.num_levels, self.num_points
        offsets = self.sampling_offsets(query).unflatten(-1, (self.num_heads, *grid, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.num_heads, -1))
        weights = weights.softmax(-1).unflatten(-1, grid)
        if level_shapes is None:
            level_shapes = read_level_shapes(spatial_shapes)
        # In pixels of the levels. Points stay in float32 under autocast; offsets are
        # small and keep the layer's type. They are pixels from a point, or parts of
        # half the size of a box.
        size = spatial_shapes.flip(1)
        dtype = torch.promote_types(reference_points.dtype, torch.float32)
        reference_points = reference_points.to(dtype)
        centre = reference_points[..., :2] * size - 0.5
        centre = centre.expand(*query.shape[:2], self.num_levels, 2)
        if reference_points.shape[-1] == 4:
            reach = reference_points[..., 2:] * size * (0.5 / self.num_points)
            offsets = offsets * reach[:, :, None, :, None]
        x, y = offsets.unbind(-1)
        output = self.sample(value, level_shapes, x, y, weights, centre=centre)
        output = self.output_proj(output)
        if not self.batch_first:
            output = output.transpose(0, 1)
        return self.dropout(output) + identity


class RecordedDeformableAttention(FastDeformableAttention):
    """The same module, which an exporter records as one operator.

    For exporters that know the operator, such as that to ONNX (`onnx_translations`).
    """

    stays_operator = True
