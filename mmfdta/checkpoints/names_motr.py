# Copyright (c) mmfdta authors.
"""Parameter names of MOTR as released.

Its detector has the names of Deformable DETR. The decoder layers have a second
self-attention, for tracks alone, with ``norm4`` after it; ``track_embed`` is the
query interaction module.
"""

from .names_released import DETECTOR_RULES
from .rules import table

TRACK_ATTENTION = 'track attention'
QUERY_INTERACTION = 'query interaction'

_TRACK_ATTENTION = (
    ('update_attn.{attn}', 'track_attn.attn.{attn}'),
    ('norm4.{p}', 'track_norm.{p}'),
)
_QUERY_INTERACTION = (
    ('self_attn.{attn}', 'layer.self_attn.{attn}'),
    ('norm1.{p}', 'layer.norm1.{p}'),
    ('linear1.{p}', 'layer.ffn.linear1.{p}'),
    ('linear2.{p}', 'layer.ffn.linear2.{p}'),
    ('norm2.{p}', 'layer.norm2.{p}'),
    ('linear_pos1.{p}', 'position_ffn.linear1.{p}'),
    ('linear_pos2.{p}', 'position_ffn.linear2.{p}'),
    ('norm_pos.{p}', 'position_norm.{p}'),
    ('linear_feat1.{p}', 'content_ffn.linear1.{p}'),
    ('linear_feat2.{p}', 'content_ffn.linear2.{p}'),
    ('norm_feat.{p}', 'content_norm.{p}'),
)

TRACK_RULES = (
    *table(
        TRACK_ATTENTION,
        _TRACK_ATTENTION,
        'transformer.decoder.layers.{i}.',
        'detector.decoder.layers.{i}.',
    ),
    *table(QUERY_INTERACTION, _QUERY_INTERACTION, 'track_embed.', 'query_interaction.'),
)
MOTR_RULES = DETECTOR_RULES + TRACK_RULES
