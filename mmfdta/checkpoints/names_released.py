# Copyright (c) mmfdta authors.
"""Parameter names of Deformable DETR, MOTIP and FDTA as released.

All three grew from one code base: MOTIP holds Deformable DETR as ``detr``, and
FDTA adds the depth branch to it and the temporal adapter beside it. In
Deformable DETR's decoder layers ``norm2`` follows self-attention, ``norm1``
deformable attention and ``norm3`` the FFN; MMDetection numbers them in the order
of use.
"""

from .rules import Rule, table

DETECTOR = 'detector'
SPATIAL = 'spatial adapter'
TEMPORAL = 'temporal adapter'
IDENTITY = 'identity adapter'
ASSOCIATION = 'association'

_BACKBONE = tuple(
    (f'backbone.0.body.{name}', f'backbone.{name}')
    for name in (
        'conv1.weight',
        'bn1.{bn}',
        'layer{i}.{j}.conv1.weight',
        'layer{i}.{j}.bn1.{bn}',
        'layer{i}.{j}.conv2.weight',
        'layer{i}.{j}.bn2.{bn}',
        'layer{i}.{j}.conv3.weight',
        'layer{i}.{j}.bn3.{bn}',
        'layer{i}.0.downsample.0.weight',
        'layer{i}.0.downsample.1.{bn}',
    )
)
_NECK = (
    ('input_proj.{level}.0.{p}', 'neck.convs.{level}.conv.{p}'),
    ('input_proj.{level}.1.{p}', 'neck.convs.{level}.gn.{p}'),
    ('input_proj.3.0.{p}', 'neck.extra_convs.0.conv.{p}'),
    ('input_proj.3.1.{p}', 'neck.extra_convs.0.gn.{p}'),
)
_ENCODER = (
    ('self_attn.{msda}.{p}', 'self_attn.{msda}.{p}'),
    ('norm1.{p}', 'norms.0.{p}'),
    ('linear1.{p}', 'ffn.layers.0.0.{p}'),
    ('linear2.{p}', 'ffn.layers.1.{p}'),
    ('norm2.{p}', 'norms.1.{p}'),
)
_DECODER = (
    ('self_attn.{attn}', 'self_attn.attn.{attn}'),
    ('norm2.{p}', 'norms.0.{p}'),
    ('cross_attn.{msda}.{p}', 'cross_attn.{msda}.{p}'),
    ('norm1.{p}', 'norms.1.{p}'),
    ('linear1.{p}', 'ffn.layers.0.0.{p}'),
    ('linear2.{p}', 'ffn.layers.1.{p}'),
    ('norm3.{p}', 'norms.2.{p}'),
)
_HEAD = (
    ('class_embed.{i}.{p}', 'bbox_head.cls_branches.{i}.{p}'),
    ('bbox_embed.{i}.layers.0.{p}', 'bbox_head.reg_branches.{i}.0.{p}'),
    ('bbox_embed.{i}.layers.1.{p}', 'bbox_head.reg_branches.{i}.2.{p}'),
    ('bbox_embed.{i}.layers.2.{p}', 'bbox_head.reg_branches.{i}.4.{p}'),
)
# A two-stage detector has none of these.
_QUERIES = (
    ('query_embed.weight', 'query_embedding.weight'),
    ('transformer.reference_points.{p}', 'reference_points_fc.{p}'),
)
_DEPTH_ATTENTION = (
    ('cross_attn_depth.{attn}', 'depth_attn.attn.{attn}'),
    ('norm_depth.{p}', 'depth_norm.{p}'),
)
_SPATIAL = (
    ('depth_bin_values', 'bin_values'),
    ('proj.0.{p}', 'fine_proj.conv.{p}'),
    ('proj.1.{p}', 'fine_proj.gn.{p}'),
    ('upsample.0.{p}', 'coarse_proj.conv.{p}'),
    ('upsample.1.{p}', 'coarse_proj.gn.{p}'),
    ('depth_head.0.{p}', 'depth_head.0.conv.{p}'),
    ('depth_head.1.{p}', 'depth_head.0.gn.{p}'),
    ('depth_head.3.{p}', 'depth_head.1.conv.{p}'),
    ('depth_head.4.{p}', 'depth_head.1.gn.{p}'),
    ('depth_classifier.{p}', 'depth_classifier.{p}'),
    ('depth_encoder.layers.0.self_attn.{attn}', 'depth_encoder.self_attn.{attn}'),
    ('depth_encoder.layers.0.norm1.{p}', 'depth_encoder.norm1.{p}'),
    ('depth_encoder.layers.0.linear1.{p}', 'depth_encoder.ffn.linear1.{p}'),
    ('depth_encoder.layers.0.linear2.{p}', 'depth_encoder.ffn.linear2.{p}'),
    ('depth_encoder.layers.0.norm2.{p}', 'depth_encoder.norm2.{p}'),
    ('depth_pos_embed.weight', 'depth_embedding.weight'),
)
_TEMPORAL = (
    ('self_attn.{attn}', 'self_attn.{attn}'),
    ('norm1.{p}', 'norm1.{p}'),
    ('linear1.{p}', 'ffn.linear1.{p}'),
    ('linear2.{p}', 'ffn.linear2.{p}'),
    ('norm2.{p}', 'norm2.{p}'),
)
_TRAJECTORY = tuple(
    (name, name)
    for name in (
        'adapter.linear1.{p}',
        'adapter.linear2.{p}',
        'norm.{p}',
        'ffn.linear1.{p}',
        'ffn.linear2.{p}',
        'ffn_norm.{p}',
    )
)
# The first layer of the ID decoder has no self-attention.
_ID_DECODER = (
    ('rel_pos_embeds', 'rel_pos_embeds'),
    ('word_to_embed.weight', 'word_to_embed.weight'),
    ('embed_to_word_layers.0.weight', 'embed_to_word.weight'),
    ('self_attn_layers.{i}.{attn}', 'layers.{i+1}.self_attn.{attn}'),
    ('self_attn_norm_layers.{i}.{p}', 'layers.{i+1}.self_attn_norm.{p}'),
    ('cross_attn_layers.{i}.{attn}', 'layers.{i}.cross_attn.{attn}'),
    ('cross_attn_norm_layers.{i}.{p}', 'layers.{i}.cross_attn_norm.{p}'),
    ('ffn_layers.{i}.linear1.{p}', 'layers.{i}.ffn.linear1.{p}'),
    ('ffn_layers.{i}.linear2.{p}', 'layers.{i}.ffn.linear2.{p}'),
    ('ffn_norm_layers.{i}.{p}', 'layers.{i}.ffn_norm.{p}'),
)
# In the previous naming each FFN holds its norm.
_PREVIOUS_TRAJECTORY = (
    ('trajectory_feature_adapter.linear1.{p}', 'adapter.linear1.{p}'),
    ('trajectory_feature_adapter.linear2.{p}', 'adapter.linear2.{p}'),
    ('trajectory_feature_adapter.norm.{p}', 'norm.{p}'),
    ('trajectory_augmentation.trajectory_ffn.linear1.{p}', 'ffn.linear1.{p}'),
    ('trajectory_augmentation.trajectory_ffn.linear2.{p}', 'ffn.linear2.{p}'),
    ('trajectory_augmentation.trajectory_ffn.norm.{p}', 'ffn_norm.{p}'),
)
_PREVIOUS_ID_DECODER = (
    ('related_temporal_embeds', 'rel_pos_embeds'),
    ('word_to_embed.weight', 'word_to_embed.weight'),
    ('embed_to_word.weight', 'embed_to_word.weight'),
    ('self_attn_layers.{i}.{attn}', 'layers.{i+1}.self_attn.{attn}'),
    ('self_norm_layers.{i}.{p}', 'layers.{i+1}.self_attn_norm.{p}'),
    ('decoder_layers.{i}.{attn}', 'layers.{i}.cross_attn.{attn}'),
    ('norm_layers.{i}.{p}', 'layers.{i}.cross_attn_norm.{p}'),
    ('ffn_layers.{i}.linear1.{p}', 'layers.{i}.ffn.linear1.{p}'),
    ('ffn_layers.{i}.linear2.{p}', 'layers.{i}.ffn.linear2.{p}'),
    ('ffn_layers.{i}.norm.{p}', 'layers.{i}.ffn_norm.{p}'),
)
_IDENTITY = (
    ('layers.0.{p}', 'mlp.0.{p}'),
    ('layers.1.{p}', 'mlp.2.{p}'),
    ('layers.2.{p}', 'mlp.4.{p}'),
)


def _detector(prefix: str) -> tuple[Rule, ...]:
    """Rules of the detector, with or without its depth branch."""
    layers = 'transformer.{}.layers.{{i}}.'
    return (
        *table(DETECTOR, _BACKBONE + _NECK + _HEAD, prefix, 'detector.'),
        *table(
            DETECTOR,
            [('transformer.level_embed', 'level_embed')],
            prefix,
            'detector.',
        ),
        *table(DETECTOR, _QUERIES, prefix, 'detector.', optional=True),
        *table(
            DETECTOR,
            _ENCODER,
            prefix + layers.format('encoder'),
            'detector.encoder.layers.{i}.',
        ),
        *table(
            DETECTOR,
            _DECODER,
            prefix + layers.format('decoder'),
            'detector.decoder.layers.{i}.',
        ),
        *table(
            SPATIAL,
            _DEPTH_ATTENTION,
            prefix + layers.format('decoder'),
            'detector.decoder.layers.{i}.',
        ),
        *table(
            SPATIAL, _SPATIAL, f'{prefix}depth_predictor.', 'detector.spatial_adapter.'
        ),
    )


DETECTOR_RULES = _detector('')
_ADAPTED = (
    *_detector('detr.'),
    *table(
        TEMPORAL,
        _TEMPORAL,
        'trajectory_embedding.trca.{i}.',
        'temporal_adapter.layers.{i}.',
    ),
    *table(IDENTITY, _IDENTITY, 'criterion.track_embed.', 'identity_adapter.'),
)


def _association(
    trajectory: tuple, id_decoder: tuple, trajectory_prefix: str, id_prefix: str
) -> tuple[Rule, ...]:
    return table(
        ASSOCIATION, trajectory, trajectory_prefix, 'trajectory_modeling.'
    ) + table(ASSOCIATION, id_decoder, id_prefix, 'id_decoder.')


RELEASED_RULES = _ADAPTED + _association(
    _TRAJECTORY, _ID_DECODER, 'trajectory_modeling.', 'id_decoder.'
)
PREVIOUS_RULES = (
    _ADAPTED
    + _association(
        _PREVIOUS_TRAJECTORY,
        _PREVIOUS_ID_DECODER,
        'seq_decoder.',
        'seq_decoder.id_decoder.',
    )
    + table(
        TEMPORAL,
        _TEMPORAL,
        'seq_decoder.trajectory_embedding.trca.{i}.',
        'temporal_adapter.layers.{i}.',
    )
)

BBOX_ALIASES = (
    (
        'transformer.decoder.bbox_embed.{i}.layers.{j}.{p}',
        'bbox_embed.{i}.layers.{j}.{p}',
        '',
    ),
)
# Only a two-stage detector hands its class heads to the decoder.
CLASS_ALIASES = (
    ('transformer.decoder.class_embed.{i}.{p}', 'class_embed.{i}.{p}', ''),
)
# One map from embeddings to ID words serves all layers.
WORD_ALIASES = (
    (
        'id_decoder.embed_to_word_layers.{i+1}.weight',
        'id_decoder.embed_to_word_layers.0.weight',
        'id_decoder.rel_pos_embeds',
    ),
)
