# Copyright (c) mmfdta authors.
"""ID decoder: predicts the ID word of each detection from the trajectories."""

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.utils import OptMultiConfig
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.utils.checkpoint import checkpoint

from ..layers import FFN, MultiheadAttention, in_float32
from .trajectories import Sequences

# Added to the score of a masked key: its weight underflows to exactly 0, and half
# precision can still represent the score.
NEVER = -1e4
# Every fused kernel supports head sizes that are multiples of this.
ALIGNMENT = 8


class TimeBiasedAttention(MultiheadAttention):
    """Cross-attention whose scores depend on queries, keys and their frames.

    A key is a feature followed by one of a few words. The two halves are projected
    separately, so that a word is projected once and not for every observation.

    A bias for every pair of tokens would need (S, H, T N, T' N') numbers, far more than
    anything else in training. It depends only on the pair of frames, so T extra
    channels carry it instead: a query has 1 in the channel of its frame, and a key has
    in each channel the bias for the queries of that frame. The scores, and so the
    result, are the same. More channels, of zeros, make the head size a multiple of 8,
    without which PyTorch has no fused kernel on a GPU. Queries of a single frame, as in
    tracking, have a common bias, which is then passed as a mask.

    Args:
        embed_dims: Number of channels C.
        num_heads: Number of heads H.
    """

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__(embed_dims, num_heads, add_zero_attn=True)

    def project_keys(self, features: Tensor, words: Tensor, labels: Tensor) -> Tensor:
        """Project to keys and values.

        Args:
            features: Feature half of the keys, (S, T', N', Cf).
            words: The vocabulary, (K, C - Cf).
            labels: Word of each key, (S, T', N') int64, or of each object, (S, 1, N').

        Returns:
            Keys and values split into heads, (S, 2H, T' * N', C / H).
        """
        channels = features.shape[-1]
        weight = self.in_proj_weight[self.embed_dim :]
        bias = self.in_proj_bias[self.embed_dim :]
        table = F.linear(words, weight[:, channels:], bias)
        projected = self.operators.linear(features, weight[:, :channels])
        of_words = F.embedding(labels, table).to(projected)
        # In place if there are no gradients: the keys of a full window take 6 MB.
        if torch.is_grad_enabled():
            projected = projected + of_words
        else:
            projected += of_words
        projected = projected.flatten(1, 2).unflatten(-1, (-1, self.head_dim))
        return projected.transpose(1, 2)

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        features: Tensor,
        words: Tensor,
        labels: Tensor,
        time_bias: Tensor,
        missing: Tensor,
    ) -> Tensor:
        """Attend.

        Args:
            query: Tokens of T frames, (S, T * N, C), frame by frame.
            features: Feature half of the keys of T' frames, (S, T', N', Cf).
            words: The words of keys, (K, C - Cf).
            labels: Word of each key, (S, T', N') int64, or of each object, (S, 1, N').
            time_bias: Added to the scores of a pair of frames, `NEVER` if the query may
                not attend to the key's frame, (H, T, T').
            missing: Keys without an observation, which are masked, (S, T' * N') bool.

        Returns:
            (S, T * N, C).
        """
        frames = time_bias.shape[1]
        q = self.project(query, 0)
        k, v = self.project_keys(features, words, labels).chunk(2, dim=1)
        bias = time_bias.transpose(1, 2).unsqueeze(2)
        bias = bias.expand(-1, -1, labels.shape[2], -1).flatten(1, 2)
        bias = bias.masked_fill(missing[:, None, :, None], NEVER).to(k.dtype)
        if frames == 1:
            return self.attend(q, k, v, bias.transpose(2, 3))
        extra = frames + -(self.head_dim + frames) % ALIGNMENT
        own_frame = torch.eye(frames, extra, dtype=q.dtype, device=q.device)
        own_frame = own_frame.repeat_interleave(query.shape[1] // frames, 0)
        q = q * self.head_dim**-0.5
        q = torch.cat([q, own_frame.expand(*q.shape[:2], -1, -1)], dim=-1)
        k = torch.cat([k, bias], dim=-1)
        # Adds the zero token, and channels to make keys and values as wide as queries.
        k, v = F.pad(k, (0, extra - frames, 0, 1)), F.pad(v, (0, extra, 0, 1))
        out = F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., : self.head_dim]
        out = out.transpose(1, 2).flatten(2)
        return self.operators.linear(out, self.out_proj.weight, self.out_proj.bias)


class IDDecoderLayer(nn.Module):
    """Self-attention within a frame, cross-attention to the past, FFN; post-norm.

    Args:
        embed_dims: Channels of a token (feature + ID word).
        num_heads: Number of heads.
        ffn_ratio: Hidden channels of the FFN relative to ``embed_dims``.
        with_self_attn: Whether there is self-attention. The first layer has none,
            because all its detection tokens have the same word.
    """

    def __init__(
        self, embed_dims: int, num_heads: int, ffn_ratio: int, with_self_attn: bool
    ) -> None:
        super().__init__()
        if with_self_attn:
            self.self_attn = MultiheadAttention(
                embed_dims, num_heads, add_zero_attn=True
            )
            self.self_attn_norm = nn.LayerNorm(embed_dims)
        self.with_self_attn = with_self_attn
        self.cross_attn = TimeBiasedAttention(embed_dims, num_heads)
        self.cross_attn_norm = nn.LayerNorm(embed_dims)
        self.ffn = FFN(embed_dims, embed_dims * ffn_ratio, activation='gelu')
        self.ffn_norm = nn.LayerNorm(embed_dims)

    def forward(
        self,
        unknown: Tensor,
        unknown_masks: Tensor,
        trajectory: Tensor,
        words: Tensor,
        labels: Tensor,
        time_bias: Tensor,
        missing: Tensor,
    ) -> Tensor:
        """Run the layer.

        Args:
            unknown: Detection tokens (S, T, N, C), S = B * G.
            unknown_masks: (S, T, N) bool, True = no detection.
            trajectory: Trajectory features (S, T', N', Cf).
            words: The dictionary (K + 1, C - Cf).
            labels: Word of each observation (S, T', N') int64, or of each object,
                (S, 1, N').
            time_bias: Bias of each pair of frames (H, T, T').
            missing: (S, T' * N') bool, True = no observation.

        Returns:
            (S, T, N, C).
        """
        shape = unknown.shape
        if self.with_self_attn:
            x = unknown.flatten(0, 1)
            visible = ~unknown_masks.flatten(0, 1)[:, None, None]
            x = self.self_attn_norm(x + self.self_attn(x, x, x, visible))
            unknown = x.view(shape)
        x = unknown.flatten(1, 2)
        past = self.cross_attn(x, trajectory, words, labels, time_bias, missing)
        x = self.cross_attn_norm(x + past)
        return self.ffn_norm(x + self.ffn(x)).view(shape)


@MODELS.register_module()
class IDDecoder(BaseModule):
    """Decode the identity of detections in the context of trajectories.

    A trajectory token is [feature, its ID word], a detection token [feature, newborn
    word]. Detections attend to all earlier observations, with a learned bias for the
    distance in time. A linear map of the word half gives the scores of the K words and
    of "newborn". Section 3.1 of the paper (from MOTIP).

    Args:
        feature_dims: Channels C of the object features.
        id_dims: Channels of an ID word.
        num_id_vocabulary: Number K of ID words; word K is "newborn".
        max_relative_time: Length L of the table of time distances; the window (clip
            length, miss tolerance) must not exceed it.
        num_layers: Number of layers.
        head_dims: Channels of a head.
        ffn_ratio: Hidden channels of the FFN relative to the token's.
        aux_loss: In training, return the logits of every layer.
        with_cp: Recompute the layers in the backward pass.
        init_cfg: Initialisation config.

    Attributes:
        float32_modules: Modules that are computed in float32 in every precision.

    Raises:
        ValueError: If ``feature_dims + id_dims`` is not a multiple of ``head_dims``.
    """

    float32_modules = ('word_to_embed', 'embed_to_word')

    def __init__(
        self,
        feature_dims: int = 256,
        id_dims: int = 256,
        num_id_vocabulary: int = 50,
        max_relative_time: int = 30,
        num_layers: int = 6,
        head_dims: int = 32,
        ffn_ratio: int = 2,
        aux_loss: bool = False,
        with_cp: bool = False,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg)
        embed_dims = feature_dims + id_dims
        if embed_dims % head_dims:
            raise ValueError(
                f'IDDecoder: feature_dims + id_dims = {embed_dims} is not a multiple '
                f'of head_dims = {head_dims}; choose a head size that divides it.'
            )
        self.num_heads = embed_dims // head_dims
        self.id_dims = id_dims
        self.num_id_vocabulary = num_id_vocabulary
        self.max_relative_time = max_relative_time
        self.aux_loss = aux_loss
        self.with_cp = with_cp
        words = num_id_vocabulary + 1
        # Its weight is used as a table, so quantisation must not change it.
        self.word_to_embed = NonDynamicallyQuantizableLinear(words, id_dims, bias=False)
        self.embed_to_word = nn.Linear(id_dims, words, bias=False)
        self.rel_pos_embeds = nn.Parameter(
            torch.zeros(num_layers, max_relative_time, self.num_heads)
        )
        self.layers = nn.ModuleList(
            IDDecoderLayer(embed_dims, self.num_heads, ffn_ratio, i > 0)
            for i in range(num_layers)
        )

    def init_weights(self) -> None:
        """Xavier-initialise all matrices; the time bias starts at zero."""
        super().init_weights()
        for name, p in self.named_parameters():
            if p.dim() > 1 and name != 'rel_pos_embeds':
                nn.init.xavier_uniform_(p)

    def forward(
        self,
        trajectory_features: Tensor,
        trajectory_labels: Tensor,
        trajectory_masks: Tensor,
        trajectory_times: Tensor,
        unknown_features: Tensor,
        unknown_masks: Tensor,
        unknown_times: Tensor,
    ) -> Tensor:
        """Score the ID words of detections.

        Args:
            trajectory_features: (B, G, T', N', C) refined history.
            trajectory_labels: (B, G, T', N') int64 words 0..K-1; T' may be 1 if an
                object's word is the same in all frames.
            trajectory_masks: (B, G, T', N') bool, True = missing.
            trajectory_times: (T',) int64 frame index in the window.
            unknown_features: (B, G, T, N, C) current detections.
            unknown_masks: (B, G, T, N) bool, True = no detection.
            unknown_times: (T,) int64 frame index in the window.

        Returns:
            Logits (B, G, T, N, K + 1); with ``aux_loss`` in training
            (num_layers, B, G, T, N, K + 1).
        """
        words = self.word_to_embed.weight.t()
        # Padding (-1) gets "newborn".
        labels = trajectory_labels.where(trajectory_labels >= 0, len(words) - 1)
        labels = labels.flatten(0, 1)
        newborn = words[-1]
        unknown = torch.cat(
            [unknown_features, newborn.expand(*unknown_masks.shape, -1)], dim=-1
        )
        batch_shape = unknown.shape[:2]
        trajectory = trajectory_features.flatten(0, 1)
        unknown = unknown.flatten(0, 1)
        masks = unknown_masks.flatten(0, 1)
        missing = trajectory_masks.flatten(0, 1).flatten(1)
        logits = []
        for i, layer in enumerate(self.layers):
            time_bias = self._time_bias(i, unknown_times, trajectory_times)
            args = unknown, masks, trajectory, words, labels, time_bias, missing
            if self.with_cp and self.training:
                unknown = checkpoint(layer, *args, use_reentrant=False)
            else:
                unknown = layer(*args)
            if self.training and self.aux_loss:
                logits.append(self._score_words(unknown))
        if logits:
            return torch.stack(logits).unflatten(1, batch_shape)
        return self._score_words(unknown).unflatten(0, batch_shape)

    def score_clip(self, trajectories: Tensor, sequences: Sequences) -> Tensor:
        """Score the ID words of all detections of training clips.

        Args:
            trajectories: Refined history (B, G, T, N, C).
            sequences: The clips, with the features of their detections.

        Returns:
            Logits, see :meth:`forward`.
        """
        masks = sequences.trajectory_masks
        times = torch.arange(masks.shape[2], device=masks.device)
        return self(
            trajectories,
            sequences.trajectory_labels,
            masks,
            times,
            sequences.unknown_features,
            sequences.unknown_masks,
            times,
        )

    def score_frame(
        self, trajectories: Tensor, masks: Tensor, id_labels: Tensor, detections: Tensor
    ) -> Tensor:
        """Score the ID words of the detections of the frame after a history.

        Args:
            trajectories: Refined history (T, N, C).
            masks: (T, N) bool, True = missing.
            id_labels: (N,) int64 words.
            detections: (n, C).

        Returns:
            Logits (n, K + 1).
        """
        frames = masks.shape[0]
        device = detections.device
        return self(
            trajectories[None, None],
            id_labels[None, None, None],
            masks[None, None],
            torch.arange(frames, device=device),
            detections[None, None, None],
            detections.new_zeros(1, 1, 1, detections.shape[0], dtype=torch.bool),
            torch.full((1,), frames, device=device),
        )[0, 0, 0]

    def _score_words(self, tokens: Tensor) -> Tensor:
        """Return logits (..., K + 1) of tokens (..., C), always in float32."""
        return in_float32(self.embed_to_word, tokens[..., -self.id_dims :])

    def _time_bias(
        self, layer: int, unknown_times: Tensor, trajectory_times: Tensor
    ) -> Tensor:
        """Return the bias (H, T, T') of frame pairs; masks all except earlier ones."""
        distance = unknown_times[:, None] - trajectory_times[None]
        index = distance.clamp(0, self.max_relative_time - 1)
        bias = self.rel_pos_embeds[layer][index].permute(2, 0, 1)
        return bias.masked_fill(distance <= 0, NEVER)
