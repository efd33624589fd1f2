# Copyright (c) mmfdta authors.
"""Tables of parameter names: other code bases and mmfdta.

Released Deformable DETR, MOTIP and FDTA grew from one code base: MOTIP contains
Deformable DETR as ``detr``, and FDTA adds the depth branch inside it and the temporal
adapter outside. In Deformable DETR's decoder layers ``norm2`` follows self-attention,
``norm1`` deformable attention and ``norm3`` the FFN; MMDetection numbers them in the
order of use.

MOTR's detector has the names of Deformable DETR. Its decoder layers have a second
self-attention, only among tracks, with ``norm4`` after it; ``track_embed`` is the query
interaction module.

YOLOX has the names of Megvii's code, in any size, including nano with its separable
convolutions. ByteTrack, OC-SORT and DanceTrack publish detectors with these names.

mmfdta's detectors are MMDetection's, so one table serves both: MMDetection's names are
those of mmfdta without ``detector.``.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from .rules import Alias, Rule, Template, table

# The parts of the models.
DETECTOR = 'detector'
SPATIAL = 'spatial adapter'
TEMPORAL = 'temporal adapter'
IDENTITY = 'identity adapter'
ASSOCIATION = 'association'
TRACK_ATTENTION = 'track attention'
QUERY_INTERACTION = 'query interaction'
YOLOX = 'YOLOX'

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
# In the previous naming each FFN contains its norm.
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


_ENCODER_LAYER = 'transformer.encoder.layers.{i}.', 'detector.encoder.layers.{i}.'
_DECODER_LAYER = 'transformer.decoder.layers.{i}.', 'detector.decoder.layers.{i}.'


def _detector(prefix: str) -> tuple[Rule, ...]:
    """Rules of the detector, with or without its depth branch."""
    depth = 'depth_predictor.', 'detector.spatial_adapter.'
    rules = (
        *table(DETECTOR, _BACKBONE + _NECK + _HEAD, target='detector.'),
        *table(DETECTOR, [('transformer.level_embed', 'detector.level_embed')]),
        *table(DETECTOR, _QUERIES, target='detector.', optional=True),
        *table(DETECTOR, _ENCODER, *_ENCODER_LAYER),
        *table(DETECTOR, _DECODER, *_DECODER_LAYER),
        *table(SPATIAL, _DEPTH_ATTENTION, *_DECODER_LAYER),
        *table(SPATIAL, _SPATIAL, *depth),
    )
    return tuple(replace(r, source=Template(prefix + r.source.text)) for r in rules)


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


_TO_TRAJECTORY, _TO_DECODER = 'trajectory_modeling.', 'id_decoder.'
RELEASED_RULES = (
    *_ADAPTED,
    *table(ASSOCIATION, _TRAJECTORY, 'trajectory_modeling.', _TO_TRAJECTORY),
    *table(ASSOCIATION, _ID_DECODER, 'id_decoder.', _TO_DECODER),
)
PREVIOUS_RULES = (
    *_ADAPTED,
    *table(ASSOCIATION, _PREVIOUS_TRAJECTORY, 'seq_decoder.', _TO_TRAJECTORY),
    *table(ASSOCIATION, _PREVIOUS_ID_DECODER, 'seq_decoder.id_decoder.', _TO_DECODER),
    *table(
        TEMPORAL,
        _TEMPORAL,
        'seq_decoder.trajectory_embedding.trca.{i}.',
        'temporal_adapter.layers.{i}.',
    ),
)

BOX_ALIAS = Alias(
    Template('transformer.decoder.bbox_embed.{i}.layers.{j}.{p}'),
    Template('bbox_embed.{i}.layers.{j}.{p}'),
)
DETR_BOX_ALIAS = Alias(
    Template('detr.transformer.decoder.bbox_embed.{i}.layers.{j}.{p}'),
    Template('detr.bbox_embed.{i}.layers.{j}.{p}'),
)
# Only the decoder of a two-stage detector has the class heads.
CLASS_ALIAS = Alias(
    Template('transformer.decoder.class_embed.{i}.{p}'),
    Template('class_embed.{i}.{p}'),
    written=False,
)
# One map from embeddings to ID words serves all layers.
WORD_ALIAS = Alias(
    Template('id_decoder.embed_to_word_layers.{i+1}.weight'),
    Template('id_decoder.embed_to_word_layers.0.weight'),
    layers='id_decoder.rel_pos_embeds',
)

_TRACK_ATTENTION_NAMES = (
    ('update_attn.{attn}', 'track_attn.attn.{attn}'),
    ('norm4.{p}', 'track_norm.{p}'),
)
_QUERY_INTERACTION_NAMES = (
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

_INTERACTION = 'track_embed.', 'query_interaction.'
TRACK_RULES = (
    *table(TRACK_ATTENTION, _TRACK_ATTENTION_NAMES, *_DECODER_LAYER),
    *table(QUERY_INTERACTION, _QUERY_INTERACTION_NAMES, *_INTERACTION),
)
MOTR_RULES = DETECTOR_RULES + TRACK_RULES

# Convolutions with normalisation and activation: name there, name in MMDetection.
_YOLOX_CSP = (
    ('conv1', 'main_conv'),
    ('conv2', 'short_conv'),
    ('conv3', 'final_conv'),
    ('m.{k}.conv1', 'blocks.{k}.conv1'),
    ('m.{k}.conv2', 'blocks.{k}.conv2'),
)
_YOLOX_PYRAMID = (
    ('lateral_conv0', 'reduce_layers.0'),
    ('reduce_conv1', 'reduce_layers.1'),
    ('bu_conv2', 'downsamples.0'),
    ('bu_conv1', 'downsamples.1'),
)
_YOLOX_PYRAMID_CSP = (
    ('C3_p4', 'top_down_blocks.0'),
    ('C3_p3', 'top_down_blocks.1'),
    ('C3_n3', 'bottom_up_blocks.0'),
    ('C3_n4', 'bottom_up_blocks.1'),
)
_YOLOX_HEAD = (
    ('head.stems.{i}', 'neck.out_convs.{i}'),
    ('head.cls_convs.{i}.{j}', 'bbox_head.multi_level_cls_convs.{i}.{j}'),
    ('head.reg_convs.{i}.{j}', 'bbox_head.multi_level_reg_convs.{i}.{j}'),
)
_YOLOX_PREDICTIONS = (
    ('head.cls_preds.{i}.{p}', 'bbox_head.multi_level_conv_cls.{i}.{p}'),
    ('head.reg_preds.{i}.{p}', 'bbox_head.multi_level_conv_reg.{i}.{p}'),
    ('head.obj_preds.{i}.{p}', 'bbox_head.multi_level_conv_obj.{i}.{p}'),
)
_YOLOX_LEAVES = ('conv.weight', 'bn.{bn}', 'bn.num_batches_tracked')
# In YOLOX-nano each of these convolutions is a depthwise and a pointwise one.
YOLOX_SEPARABLE = (
    r'(backbone\.stage\d\.0|.*\.blocks\.[^.]+\.conv2|neck\.downsamples\.\d'
    r'|bbox_head\.multi_level_(cls|reg)_convs\.[^.]+\.[^.]+)'
)
_YOLOX_PAIR = (('dconv', 'depthwise_conv'), ('pconv', 'pointwise_conv'))


def _yolox_backbone() -> Iterator[tuple[str, str]]:
    yield 'stem.conv', 'stem.conv'
    for stage in range(1, 5):
        theirs, ours = f'dark{stage + 1}', f'stage{stage}'
        yield f'{theirs}.0', f'{ours}.0'
        csp = 1
        if stage == 4:  # spatial pyramid pooling comes before
            csp = 2
            for conv in ('conv1', 'conv2'):
                yield f'{theirs}.1.{conv}', f'{ours}.1.{conv}'
        for old, new in _YOLOX_CSP:
            yield f'{theirs}.{csp}.{old}', f'{ours}.{csp}.{new}'


def _yolox_convolutions() -> Iterator[tuple[str, str]]:
    for old, new in _yolox_backbone():
        yield f'backbone.backbone.{old}', f'backbone.{new}'
    for old, new in _YOLOX_PYRAMID:
        yield f'backbone.{old}', f'neck.{new}'
    for old, new in _YOLOX_PYRAMID_CSP:
        for old_conv, new_conv in _YOLOX_CSP:
            yield f'backbone.{old}.{old_conv}', f'neck.{new}.{new_conv}'
    yield from _YOLOX_HEAD


def _yolox_pairs() -> Iterator[tuple[str, str, bool]]:
    for old, new in _yolox_convolutions():
        pair = _YOLOX_PAIR if re.fullmatch(YOLOX_SEPARABLE, new) else ()
        for theirs, ours in (
            (old, new),
            *((f'{old}.{o}', f'{new}.{n}') for o, n in pair),
        ):
            for leaf in _YOLOX_LEAVES:
                yield f'{theirs}.{leaf}', f'{ours}.{leaf}', leaf.endswith('tracked')
    for old, new in _YOLOX_PREDICTIONS:
        yield old, new, False


YOLOX_RULES = tuple(
    Rule(Template(old), Template(f'detector.{new}'), YOLOX, optional)
    for old, new, optional in _yolox_pairs()
)

COUNTERS = tuple(
    f'backbone.{norm}.num_batches_tracked'
    for norm in (
        'bn1',
        'layer{i}.{j}.bn1',
        'layer{i}.{j}.bn2',
        'layer{i}.{j}.bn3',
        'layer{i}.0.downsample.1',
    )
)


def _own(prefix: str, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Return rules with the target names on both sides, the source without a prefix."""
    counters = table(
        DETECTOR, [(n, n) for n in COUNTERS], target='detector.', optional=True
    )
    return tuple(
        replace(rule, source=Template(rule.target.text.removeprefix(prefix)))
        for rule in (*rules, *counters)
    )


# No released file has a gate.
_GATE = 'detector.decoder.layers.{i}.depth_attn_gate'
MMFDTA_RULES = (
    *_own('', RELEASED_RULES + TRACK_RULES + YOLOX_RULES),
    *table(SPATIAL, [(_GATE, _GATE)], optional=True),
)
MMDET_RULES = _own('detector.', DETECTOR_RULES)
MMDET_YOLOX_RULES = _own('detector.', YOLOX_RULES)
