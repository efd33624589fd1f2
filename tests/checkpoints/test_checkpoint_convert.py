# Copyright (c) mmfdta authors.
"""Converting state dicts: names, completeness, aliases, every tensor's fate."""

import dataclasses

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import Tensor

from mmfdta.checkpoints import (
    CheckpointError,
    ClassChoice,
    convert_state_dict,
    families,
    recognise,
)

from . import samples

KEEP = ClassChoice(keep=True)

FAMILIES = {
    'fdta': samples.fdta,
    'fdta_previous': lambda: samples.with_previous_names(samples.fdta()),
    'motip': samples.motip,
    'motip_previous': lambda: samples.with_previous_names(samples.motip()),
    'motr': samples.motr,
    'deformable_detr': samples.deformable_detr,
    'mmdet_deformable_detr': lambda: zoo_state_dict(),
    'mmfdta': lambda: convert_state_dict(samples.fdta()).state_dict,
}
# Number of tensors used, generated and dropped. Generated: 53 batch counters, 4
# biases of the zoo's neck, 6 tensors of the identity adapter. Dropped: 36 box
# heads and 5 ID heads that are listed twice, 2 of MOTR that nothing uses.
COUNTS = {
    'fdta': (818, 59, 41),
    'fdta_previous': (818, 59, 36),
    'motip': (678, 53, 41),
    'motip_previous': (678, 53, 36),
    'motr': (621, 53, 38),
    'deformable_detr': (561, 53, 36),
    'mmdet_deformable_detr': (610, 4, 0),
    'mmfdta': (877, 0, 0),
}


def test_tensor_without_a_name_in_the_goal_is_refused(monkeypatch):
    """Tables that lack a name lose nothing silently."""
    goal = families.find_family('fdta')
    rules = tuple(r for r in goal.rules if r.target.text != 'detector.level_embed')
    assert len(rules) < len(goal.rules)
    short = dataclasses.replace(goal, rules=rules)
    others = (f for f in families.FAMILIES if f is not goal)
    state_dict = FAMILIES['mmfdta']()
    monkeypatch.setattr(families, 'FAMILIES', (*others, short))
    with pytest.raises(CheckpointError, match='no name for detector.level_embed'):
        convert_state_dict(state_dict, to='fdta', classes=KEEP)


def zoo_model(
    bias: bool | str = 'auto', two_stage: bool = False, refine: bool = True
) -> torch.nn.Module:
    """MMDetection's own Deformable DETR with box refinement, as in its zoo."""
    init_default_scope('mmdet')
    attention = dict(embed_dims=32, num_heads=8, batch_first=True)
    ffn = dict(embed_dims=32, feedforward_channels=8)
    return MODELS.build(
        dict(
            type='DeformableDETR',
            num_queries=3,
            with_box_refine=refine,
            as_two_stage=two_stage,
            backbone=dict(type='ResNet', depth=50, base_channels=1, stem_channels=1,
                          out_indices=(1, 2, 3)),
            neck=dict(type='ChannelMapper', in_channels=[8, 16, 32], kernel_size=1,
                      out_channels=32, act_cfg=None, num_outs=4, bias=bias,
                      norm_cfg=dict(type='GN', num_groups=32)),
            encoder=dict(num_layers=6, layer_cfg=dict(
                self_attn_cfg=dict(embed_dims=32, batch_first=True), ffn_cfg=ffn)),
            decoder=dict(num_layers=6, return_intermediate=True, layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=dict(embed_dims=32, batch_first=True),
                ffn_cfg=ffn), post_norm_cfg=None),
            positional_encoding=dict(num_feats=16, normalize=True, offset=-0.5),
            bbox_head=dict(
                type='DeformableDETRHead',
                num_classes=80,
                embed_dims=32,
                loss_cls=dict(type='FocalLoss', use_sigmoid=True),
            ),
        )
    )  # fmt: skip


def zoo_state_dict(**kwargs: bool | str) -> dict[str, Tensor]:
    """Its state dict; no two parameters are equal."""
    state_dict = zoo_model(**kwargs).state_dict()
    for tensor in state_dict.values():
        if tensor.is_floating_point():
            tensor.uniform_()
    return dict(state_dict)


@pytest.mark.parametrize('family', FAMILIES)
def test_family_is_recognised(family: str) -> None:
    assert recognise(FAMILIES[family]()).key == family


@pytest.mark.parametrize('family', FAMILIES)
def test_every_tensor_is_accounted_for(family: str) -> None:
    source = FAMILIES[family]()
    conversion = convert_state_dict(source)
    records = conversion.report.records
    from_source = [r.source for r in records if r.source is not None]
    into_result = [r.target for r in records if r.target is not None]
    assert sorted(from_source) == sorted(source)
    assert sorted(into_result) == sorted(conversion.state_dict)
    assert tuple(conversion.report.counts.values()) == COUNTS[family]
    assert not conversion.report.incomplete
    for record in records:
        if record.fate != 'used':
            assert record.reason
        elif not record.reason:
            assert conversion.state_dict[record.target] is source[record.source]


@pytest.mark.parametrize(
    ('released', 'ours'),
    [
        # Norms are numbered otherwise: after self-attention, deformable attention, FFN.
        ('detr.transformer.decoder.layers.2.norm2.weight',
         'detector.decoder.layers.2.norms.0.weight'),
        ('detr.transformer.decoder.layers.2.norm1.weight',
         'detector.decoder.layers.2.norms.1.weight'),
        ('detr.transformer.decoder.layers.2.norm3.bias',
         'detector.decoder.layers.2.norms.2.bias'),
        ('detr.transformer.decoder.layers.5.cross_attn_depth.in_proj_weight',
         'detector.decoder.layers.5.depth_attn.attn.in_proj_weight'),
        ('detr.transformer.encoder.layers.0.linear2.bias',
         'detector.encoder.layers.0.ffn.layers.1.bias'),
        ('detr.input_proj.3.0.weight', 'detector.neck.extra_convs.0.conv.weight'),
        ('detr.input_proj.1.1.bias', 'detector.neck.convs.1.gn.bias'),
        ('detr.bbox_embed.4.layers.1.weight',
         'detector.bbox_head.reg_branches.4.2.weight'),
        ('detr.depth_predictor.depth_head.3.weight',
         'detector.spatial_adapter.depth_head.1.conv.weight'),
        ('detr.backbone.0.body.layer3.5.bn2.running_var',
         'detector.backbone.layer3.5.bn2.running_var'),
        # The first layer of the ID decoder has no self-attention.
        ('id_decoder.self_attn_layers.0.in_proj_bias',
         'id_decoder.layers.1.self_attn.in_proj_bias'),
        ('id_decoder.cross_attn_layers.0.in_proj_bias',
         'id_decoder.layers.0.cross_attn.in_proj_bias'),
        ('trajectory_embedding.trca.3.norm1.weight',
         'temporal_adapter.layers.3.norm1.weight'),
    ],
)  # fmt: skip
def test_released_names(released: str, ours: str) -> None:
    source = samples.fdta()
    assert convert_state_dict(source).state_dict[ours] is source[released]


@pytest.mark.parametrize('sample', [samples.fdta, samples.motip])
def test_previous_names_give_the_same(sample) -> None:
    now = convert_state_dict(sample()).state_dict
    before = convert_state_dict(samples.with_previous_names(sample())).state_dict
    assert now.keys() == before.keys()
    assert all(torch.equal(now[name], before[name]) for name in now)


@pytest.mark.parametrize(
    ('to', 'sample'),
    [
        ('fdta', samples.fdta),
        ('motip', samples.motip),
        ('deformable_detr', lambda: samples.deformable_detr(1)),
        ('mmdet_deformable_detr', lambda: zoo_state_dict(bias=True)),
    ],
)
def test_round_trip(to: str, sample) -> None:
    source = sample()
    ours = convert_state_dict(source, classes=KEEP).state_dict
    back = convert_state_dict(ours, to, classes=KEEP).state_dict
    assert back.keys() == source.keys()
    assert all(torch.equal(back[name], source[name]) for name in source)


def test_fdta_becomes_a_plain_detector_of_mmdetection() -> None:
    state_dict = convert_state_dict(samples.fdta(), 'mmdet_deformable_detr').state_dict
    assert state_dict.keys() == zoo_state_dict(bias=True).keys()


def test_zoo_neck_gets_zero_biases() -> None:
    conversion = convert_state_dict(zoo_state_dict())
    for conv in ('convs.0', 'convs.1', 'convs.2', 'extra_convs.0'):
        bias = conversion.state_dict[f'detector.neck.{conv}.conv.bias']
        assert bias.shape == (32,)
        assert not bias.any()


def test_plain_detector_leaves_the_other_parts_to_the_model() -> None:
    report = convert_state_dict(samples.deformable_detr()).report
    assert report.absent == [
        'spatial adapter', 'temporal adapter', 'identity adapter', 'association',
        'track attention', 'query interaction',
    ]  # fmt: skip
    assert 'start from scratch' in report.summary()


@pytest.mark.parametrize(
    ('sample', 'absent'),
    [
        (samples.motr, []),
        (samples.fdta, []),
        (samples.motip, ['spatial adapter', 'temporal adapter', 'identity adapter']),
    ],
)
def test_a_tracker_lacks_no_part_of_another(sample, absent: list[str]) -> None:
    assert convert_state_dict(sample()).report.absent == absent


@pytest.mark.parametrize(
    ('released', 'ours'),
    [
        ('transformer.decoder.layers.3.update_attn.in_proj_weight',
         'detector.decoder.layers.3.track_attn.attn.in_proj_weight'),
        ('transformer.decoder.layers.3.norm4.bias',
         'detector.decoder.layers.3.track_norm.bias'),
        ('transformer.decoder.layers.3.norm2.bias',
         'detector.decoder.layers.3.norms.0.bias'),
        ('track_embed.linear_pos2.weight',
         'query_interaction.position_ffn.linear2.weight'),
        ('track_embed.norm_feat.weight', 'query_interaction.content_norm.weight'),
        ('track_embed.self_attn.out_proj.bias',
         'query_interaction.layer.self_attn.out_proj.bias'),
        ('query_embed.weight', 'detector.query_embedding.weight'),
    ],
)  # fmt: skip
def test_released_names_of_motr(released: str, ours: str) -> None:
    source = samples.motr()
    assert convert_state_dict(source).state_dict[ours] is source[released]


def test_motr_without_its_query_interaction_is_incomplete() -> None:
    source = samples.motr()
    del source['track_embed.linear_feat1.bias']
    assert convert_state_dict(source).report.incomplete == [
        'query_interaction.content_ffn.linear1.bias'
    ]


def test_motr_becomes_a_plain_detector_of_mmdetection() -> None:
    conversion = convert_state_dict(samples.motr(), 'mmdet_deformable_detr')
    assert conversion.state_dict.keys() == zoo_state_dict(bias=True).keys()
    assert any('track queries' in why for why in conversion.report.reasons('dropped'))


def test_identity_adapter_of_the_criterion_is_used() -> None:
    source = samples.fdta()
    own = {}
    for released, ours in ((0, 0), (1, 2), (2, 4)):
        tensor = torch.rand(2, 2)
        source[f'criterion.track_embed.layers.{released}.weight'] = tensor
        source[f'criterion.track_embed.layers.{released}.bias'] = tensor[0]
        own[f'identity_adapter.mlp.{ours}.weight'] = tensor
    conversion = convert_state_dict(source)
    assert all(conversion.state_dict[name] is tensor for name, tensor in own.items())
    assert conversion.report.counts['generated'] == 53


def test_drawn_identity_adapter_is_the_same_each_time_and_of_its_range() -> None:
    first = convert_state_dict(samples.fdta()).state_dict
    torch.manual_seed(5)
    second = convert_state_dict(samples.fdta()).state_dict
    weight = first['identity_adapter.mlp.2.weight']
    assert torch.equal(weight, second['identity_adapter.mlp.2.weight'])
    assert weight.shape == (2, 2)
    assert 0 < weight.abs().max() <= 2**-0.5


@pytest.mark.parametrize(
    ('family', 'alias'),
    [
        ('fdta', 'detr.transformer.decoder.bbox_embed.3.layers.1.bias'),
        ('fdta', 'id_decoder.embed_to_word_layers.4.weight'),
        ('deformable_detr', 'transformer.decoder.bbox_embed.0.layers.0.weight'),
    ],
)
def test_differing_aliases_are_an_error(family: str, alias: str) -> None:
    source = FAMILIES[family]()
    source[alias] = source[alias] + 1
    with pytest.raises(CheckpointError, match=alias):
        convert_state_dict(source)


def test_an_alias_stands_in_for_the_name_that_is_not_listed() -> None:
    whole = samples.motip()
    source = {n: t for n, t in whole.items() if not n.startswith('detr.bbox_embed')}
    converted = convert_state_dict(source).state_dict
    assert torch.equal(
        converted['detector.bbox_head.reg_branches.1.4.bias'],
        whole['detr.bbox_embed.1.layers.2.bias'],
    )


@pytest.mark.parametrize('family', FAMILIES)
def test_unknown_tensor_is_an_error_that_names_it(family: str) -> None:
    source = FAMILIES[family]()
    source['tracker.memory'] = torch.ones(1)
    with pytest.raises(CheckpointError, match=r'tracker\.memory'):
        convert_state_dict(source)


@pytest.mark.parametrize(
    ('lost', 'named'),
    [
        ('detr.transformer.encoder.layers.4.norm1.bias',
         'detector.encoder.layers.4.norms.0.bias'),
        ('detr.input_proj.2.1.weight', 'detector.neck.convs.2.gn.weight'),
        ('id_decoder.self_attn_norm_layers.4.weight',
         'id_decoder.layers.5.self_attn_norm.weight'),
        ('detr.backbone.0.body.layer2.3.conv3.weight',
         'detector.backbone.layer2.3.conv3.weight'),
        ('id_decoder.rel_pos_embeds', 'id_decoder.rel_pos_embeds'),
    ],
)  # fmt: skip
def test_lost_tensor_is_noticed(lost: str, named: str) -> None:
    source = samples.fdta()
    del source[lost]
    assert convert_state_dict(source).report.incomplete == [named]


def test_lost_stack_is_noticed() -> None:
    source = samples.fdta()
    source = {n: t for n, t in source.items() if 'transformer.encoder.' not in n}
    assert (
        'detector.encoder.layers.{}.*' in convert_state_dict(source).report.incomplete
    )


def test_other_model_is_an_error_that_says_what_was_found() -> None:
    source = {'stem.conv.weight': torch.ones(1), 'head.fc.bias': torch.ones(1)}
    with pytest.raises(CheckpointError, match='head, stem'):
        convert_state_dict(source)


def test_shared_heads_of_the_zoo_are_refused() -> None:
    with pytest.raises(CheckpointError, match='refinement'):
        convert_state_dict(zoo_state_dict(refine=False))


def test_heads_that_are_equal_before_training_are_not_shared() -> None:
    convert_state_dict(dict(zoo_model().state_dict()))


def test_detector_without_box_refinement_is_refused() -> None:
    source = samples.deformable_detr(1)
    source = {
        n: t for n, t in source.items() if not n.startswith('transformer.decoder.b')
    }
    for name in source:
        if name.startswith('bbox_embed.'):
            source[name] = source[f'bbox_embed.0.{name.split(".", 2)[2]}']
    with pytest.raises(CheckpointError, match='refinement'):
        convert_state_dict(source)


@pytest.mark.parametrize(
    'sample',
    [samples.two_stage_deformable_detr, lambda: zoo_state_dict(two_stage=True)],
)
def test_two_stage_detector_loses_its_proposal_stage(sample) -> None:
    conversion = convert_state_dict(sample())
    assert not any('branches.6.' in name for name in conversion.state_dict)
    assert any('two-stage' in reason for reason in conversion.report.reasons('dropped'))
    assert conversion.report.optional == [
        'detector.query_embedding.weight',
        'detector.reference_points_fc.bias',
        'detector.reference_points_fc.weight',
    ]
    assert not conversion.report.incomplete


def test_part_of_a_state_dict_converts_with_its_family_named() -> None:
    names = [
        n
        for n in samples.weights.official_shapes('dancetrack')
        if n.startswith(('id_decoder.', 'trajectory_modeling.'))
    ]
    conversion = convert_state_dict(samples.fill(names), family='fdta')
    assert len(conversion.state_dict) == len(names) - 5  # one ID head, not six
    assert not conversion.report.incomplete


@pytest.mark.parametrize('to', ['motr', 'motip_previous'])
def test_naming_that_cannot_be_written_is_refused(to: str) -> None:
    with pytest.raises(CheckpointError, match='expected one of'):
        convert_state_dict(samples.fdta(), to)
