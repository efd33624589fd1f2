# Copyright (c) mmfdta authors.
"""One-stage Deformable DETR in which the host never waits for the device."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.detectors import DeformableDETR
from mmdet.structures import OptSampleList, SampleList
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmfdta.ops.deformable_attention.levels import LevelShapes, level_starts
from mmfdta.ops.processor import is_recorded
from mmfdta.utils.transfers import to_device

from ..layers import in_float32


class Encoder(BaseModule):
    """MMDetection's encoder of Deformable DETR, with sizes of levels on the host.

    Args:
        layers: The layers of the encoder.
    """

    def __init__(self, layers: ModuleList) -> None:
        super().__init__()
        self.layers = layers
        self.embed_dims = layers[0].embed_dims

    def forward(
        self,
        query: Tensor,
        valid_ratios: Tensor,
        level_shapes: LevelShapes,
        reference_points: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Run the layers.

        Args:
            query: Tokens (F, S, C) of all levels.
            valid_ratios: (F, L, 2) share of each level that is not padding, x first.
            level_shapes: Sizes of the L levels.
            reference_points: Result of :func:`token_points`, if already known.
            **kwargs: Further arguments of MMDetection's encoder.

        Returns:
            The memory (F, S, C).
        """
        if reference_points is None:
            reference_points = token_points(valid_ratios, level_shapes)
        for layer in self.layers:
            query = layer(
                query=query,
                valid_ratios=valid_ratios,
                level_shapes=level_shapes,
                reference_points=reference_points,
                **kwargs,
            )
        return query


class FrameDetector(DeformableDETR):
    """The base class of this project's detectors.

    It computes the same as MMDetection's Deformable DETR, with the same names of
    weights. Sizes of feature levels stay on the host, and those of padded frames go to
    the device in one copy without waiting; MMDetection reads them from the device many
    times per forward pass. Deformable attention gets them as ``level_shapes``.

    Args:
        *args: Arguments of MMDetection's ``DeformableDETR``.
        as_two_stage: Must be False.
        **kwargs: As ``args``.

    Attributes:
        float32_modules: Modules that are computed in float32 in every precision.

    Raises:
        ValueError: If ``as_two_stage`` is set.
    """

    float32_modules = ('bbox_head', 'reference_points_fc')
    encoder: nn.Module
    decoder: Any  # its config, until `_init_layers` builds it
    _whole_frames: tuple = ()

    def __getstate__(self) -> dict:
        state = super().__getstate__()
        state.pop('_whole_frames', None)
        return state

    def __init__(self, *args: Any, as_two_stage: bool = False, **kwargs: Any) -> None:
        if as_two_stage:
            raise ValueError(
                'model.detector.as_two_stage: found True, expected False; the head has '
                'no loss for the proposals of a first stage, which would stay untrained'
            )
        super().__init__(*args, **kwargs)

    def _init_layers(self) -> None:
        super()._init_layers()
        self.encoder = Encoder(self.encoder.layers)
        # MMDetection allocates it without values, which only `init_weights` would set.
        nn.init.normal_(self.level_embed)

    def pre_transformer(
        self, mlvl_feats: tuple[Tensor, ...], batch_data_samples: OptSampleList = None
    ) -> tuple[dict, dict]:
        """Prepare the inputs of encoder and decoder, as MMDetection's detectors do.

        Args:
            mlvl_feats: Neck levels (F, C, h, w), finest first.
            batch_data_samples: Frames with ``img_shape`` and ``batch_input_shape``;
                None if no frame is padded.

        Returns:
            See :meth:`prepare`.
        """
        if batch_data_samples is None:
            return self.prepare(mlvl_feats)
        return self.prepare(
            mlvl_feats,
            tuple(batch_data_samples[0].batch_input_shape),
            padded_sizes(batch_data_samples, mlvl_feats[0].device),
        )

    def prepare(
        self,
        feats: tuple[Tensor, ...],
        input_shape: tuple[int, int] | None = None,
        sizes: Tensor | None = None,
    ) -> tuple[dict, dict]:
        """Prepare the inputs of encoder and decoder.

        Args:
            feats: Neck levels (F, C, h, w), finest first.
            input_shape: Height and width of the padded frames, in pixels; needed with
                ``sizes``.
            sizes: See :func:`padded_sizes`.

        Returns:
            Arguments of :meth:`forward_encoder` and :meth:`forward_decoder`.
        """
        level_shapes = tuple((feat.shape[-2], feat.shape[-1]) for feat in feats)
        known: dict[str, Tensor] = {}
        if sizes is None:
            maps, known['reference_points'] = self.whole_frames(feats)
            count = feats[0].shape[0]  # any number during an export
            masks = None
            ones = feats[0].new_ones(count, len(feats), 2, dtype=torch.float32)
            valid_ratios = ones
        else:
            assert input_shape is not None
            found, valid_ratios = padding_of(sizes, input_shape, level_shapes)
            maps = [self.positional_encoding(mask) for mask in found]
            masks = [mask.flatten(1) for mask in found]
        mask = None if masks is None else torch.cat(masks, dim=1)
        tokens = torch.cat([feat.flatten(2).transpose(1, 2) for feat in feats], dim=1)
        positions = [position.flatten(2).transpose(1, 2) for position in maps]
        pos = torch.cat(
            [x + y for x, y in zip(positions, self.level_embed, strict=True)], dim=1
        )
        spatial_shapes, starts = level_tensors(level_shapes, tokens.device)
        levels = dict(
            spatial_shapes=spatial_shapes,
            level_start_index=starts,
            valid_ratios=valid_ratios,
            level_shapes=level_shapes,
        )
        encoder_inputs = dict(feat=tokens, feat_mask=mask, feat_pos=pos, **levels)
        encoder_inputs |= known
        more = self.decoder_features(feats, positions, masks)
        return encoder_inputs, dict(memory_mask=mask, **levels, **more)

    def decoder_features(
        self,
        feats: tuple[Tensor, ...],
        positions: Sequence[Tensor],
        masks: Sequence[Tensor] | None,
    ) -> dict:
        """Return further arguments for the layers of the decoder; none here.

        Args:
            feats: Neck levels (F, C, h, w), finest first.
            positions: Positions of each level, (F, h * w, C), or (1, h * w, C) for all
                frames.
            masks: Padding of each level, (F, h * w) bool, True = padding; None without
                padding.
        """
        return {}

    def whole_frames(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], Tensor]:
        """Return positions, the same for all frames of a size without padding.

        Those of the last size are cached: computing them is a seventh of the operations
        that a frame starts on a GPU.

        Args:
            feats: Neck levels (F, C, h, w).

        Returns:
            Sine positions of the levels, (1, C, h, w) each, and the points of the
            tokens, see :func:`token_points`, (1, S, L, 2).
        """
        shapes = tuple((feat.shape[-2], feat.shape[-1]) for feat in feats)
        if is_recorded():
            # No cache, because the change of the mode below would also be recorded.
            return self._places(feats, shapes)
        key = shapes, feats[0].device
        if not self._whole_frames or self._whole_frames[0] != key:
            # Not in inference mode, because training cannot use its tensors.
            with torch.inference_mode(False), torch.no_grad():
                self._whole_frames = key, self._places(feats, shapes)
        return self._whole_frames[1]

    def _places(
        self, feats: tuple[Tensor, ...], shapes: LevelShapes
    ) -> tuple[list[Tensor], Tensor]:
        """Compute what :meth:`whole_frames` returns."""
        places = [feat.new_empty(1, 1, *feat.shape[-2:]) for feat in feats]
        positions = [self.positional_encoding(None, input=p) for p in places]
        ones = torch.ones(1, len(feats), 2, device=feats[0].device)
        return positions, token_points(ones, shapes)

    def forward_encoder(
        self,
        feat: Tensor,
        feat_mask: Tensor | None,
        feat_pos: Tensor,
        spatial_shapes: Tensor,
        **levels: Any,
    ) -> dict:
        """Run the encoder.

        Args:
            feat: Tokens (F, S, C) of all levels.
            feat_mask: (F, S) bool, True = padding; None without padding.
            feat_pos: Positions of the tokens (F, S, C), or (1, S, C) for all frames.
            spatial_shapes: Sizes of the levels, int64 (L, 2).
            **levels: ``level_start_index``, ``valid_ratios`` and ``level_shapes``, and
                ``reference_points`` if they are known.

        Returns:
            Arguments of MMDetection's ``pre_decoder``.
        """
        memory = self.encoder(
            query=feat,
            query_pos=feat_pos,
            key_padding_mask=feat_mask,
            spatial_shapes=spatial_shapes,
            **levels,
        )
        return dict(memory=memory, memory_mask=feat_mask, spatial_shapes=spatial_shapes)

    def pre_decoder(
        self, memory: Tensor, memory_mask: Tensor | None, spatial_shapes: Tensor
    ) -> tuple[dict, dict]:
        """Prepare the queries; their points are float32 also under autocast.

        Args:
            memory: Encoder memory (F, S, C).
            memory_mask: Not used; for two-stage detectors.
            spatial_shapes: Not used; for two-stage detectors.

        Returns:
            Arguments of the decoder, and an empty dict of arguments of the head.
        """
        query_pos, query = self.query_embedding.weight.chunk(2, dim=1)
        points = in_float32(self.reference_points_fc, query_pos).sigmoid()
        parts = dict(query=query, query_pos=query_pos, reference_points=points)
        count = memory.shape[0]  # any number during an export, unlike `len`
        expanded = {k: v.expand(count, -1, -1) for k, v in parts.items()}
        return dict(expanded, memory=memory), {}

    def forward_decoder(
        self,
        query: Tensor,
        query_pos: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None,
        reference_points: Tensor,
        **kwargs: Any,
    ) -> dict:
        """Run the decoder.

        Args:
            query: Content of the queries (F, Q, C).
            query_pos: Their positions (F, Q, C).
            memory: Output of the encoder (F, S, C).
            memory_mask: (F, S) bool, True = padding; None without padding.
            reference_points: (F, Q, 2) in 0..1 of the unpadded image.
            **kwargs: Description of the levels, and further arguments of every layer.

        Returns:
            Arguments of the head.
        """
        hidden_states, references = self.decoder(
            query=query,
            query_pos=query_pos,
            value=memory,
            key_padding_mask=memory_mask,
            reference_points=reference_points,
            reg_branches=self.bbox_head.reg_branches if self.with_box_refine else None,
            **kwargs,
        )
        return dict(
            hidden_states=hidden_states, references=[reference_points, *references]
        )


def padded_sizes(frames: SampleList, device: torch.device) -> Tensor | None:
    """Copy the sizes of frames to the device, without waiting for it.

    Args:
        frames: F frames with ``img_shape`` and ``batch_input_shape``.
        device: The device.

    Returns:
        int64 (F, 2), height and width without the padding, in pixels; None if no frame
        is padded.
    """
    sizes = [tuple(frame.img_shape[:2]) for frame in frames]
    if all(size == tuple(frames[0].batch_input_shape) for size in sizes):
        return None
    return to_device([torch.tensor(sizes)], device)[0]


def padding_of(
    sizes: Tensor, input_shape: tuple[int, int], level_shapes: LevelShapes
) -> tuple[list[Tensor], Tensor]:
    """Find the padding of feature levels.

    Args:
        sizes: Height and width of F frames without padding, (F, 2).
        input_shape: Height and width with padding.
        level_shapes: Sizes of the L levels.

    Returns:
        For each level (F, h, w) bool, True = padding, as by nearest interpolation of
        the padded image; and float32 (F, L, 2), the share of the levels' width and
        height that is not padding.
    """
    masks, ratios = [], []
    for level in level_shapes:
        row, column = (
            nearest_pixels(full, count, sizes.device) >= sizes[:, axis, None]
            for axis, (full, count) in enumerate(zip(input_shape, level, strict=True))
        )
        masks.append(row[:, :, None] | column[:, None])
        x, y = ((~axis).sum(1).float() / axis.shape[1] for axis in (column, row))
        ratios.append(torch.stack([x, y], dim=-1))
    return masks, torch.stack(ratios, dim=1)


def nearest_pixels(full: int, count: int, device: torch.device) -> Tensor:
    """Return the pixels that nearest interpolation reads.

    `interpolate` itself is not used, because exported graphs round differently.

    Args:
        full: Length of the row that is read.
        count: Length of the interpolated row.
        device: Device of the result.

    Returns:
        float32 (count,), indices into the row.
    """
    steps = torch.arange(count, dtype=torch.float32, device=device)
    return (steps * (full / count)).floor()


def level_tensors(
    level_shapes: LevelShapes, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Create the sizes of levels on the device, by fills that need no copy.

    Args:
        level_shapes: Sizes of the L levels.
        device: Device of the result.

    Returns:
        int64 (L, 2) heights and widths, and int64 (L,), the first token of each level.
    """
    starts = level_starts(level_shapes)
    numbers = [*(n for shape in level_shapes for n in shape), *starts]
    filled = [torch.full((), n, dtype=torch.int64, device=device) for n in numbers]
    shapes = torch.stack(filled[: -len(starts)]).view(-1, 2)
    return shapes, torch.stack(filled[-len(starts) :])


def token_points(valid_ratios: Tensor, level_shapes: LevelShapes) -> Tensor:
    """Return the reference points of the encoder's tokens in each level.

    Args:
        valid_ratios: (F, L, 2) share of each level that is not padding, x first.
        level_shapes: Sizes of the L levels.

    Returns:
        Centres of the S tokens in all levels, (F, S, L, 2), xy in 0..1 of the padded
        level.
    """
    points, device = [], valid_ratios.device
    for level, (height, width) in enumerate(level_shapes):
        # Not linspace, whose ends a compiler would record as constants.
        y, x = torch.meshgrid(
            *(torch.arange(n, device=device) + 0.5 for n in (height, width)),
            indexing='ij',
        )
        share_x, share_y = valid_ratios[:, None, level].unbind(-1)
        x = x.reshape(1, -1) / (share_x * width)
        y = y.reshape(1, -1) / (share_y * height)
        points.append(torch.stack([x, y], dim=-1))
    return torch.cat(points, dim=1)[:, :, None] * valid_ratios[:, None]
