# Copyright (c) mmfdta authors.
"""DINO with the positions that published weights were trained with."""

import pytest
import torch
from mmdet.models.layers import DinoTransformerDecoder
from mmdet.models.layers.transformer import dino_layers
from mmdet.registry import MODELS
from torch import nn

import mmfdta.registry  # noqa: F401
from mmfdta.models.detectors.zoo_dino import ZooDINODecoder
from tests.models.small_hosts import host_config, make_frames

DECODER = dict(
    num_layers=2,
    return_intermediate=True,
    layer_cfg=dict(
        self_attn_cfg=dict(embed_dims=32, num_heads=2, dropout=0.0),
        cross_attn_cfg=dict(embed_dims=32, num_heads=2, num_levels=2, dropout=0.0),
        ffn_cfg=dict(embed_dims=32, feedforward_channels=24, ffn_drop=0.0),
    ),
    post_norm_cfg=None,
)


def test_layers_compute_what_mmdetection_does(monkeypatch: pytest.MonkeyPatch):
    """MMDetection's decoder, told the width of its positions, is the oracle."""
    ours = ZooDINODecoder(**DECODER).eval()
    theirs = DinoTransformerDecoder(**DECODER).eval()
    theirs.ref_point_head = ours.ref_point_head
    theirs.load_state_dict(ours.state_dict())
    encode = dino_layers.coordinate_to_encoding
    monkeypatch.setattr(
        dino_layers,
        'coordinate_to_encoding',
        lambda boxes, **_: encode(boxes, num_feats=16),
    )
    branches = nn.ModuleList(nn.Linear(32, 4) for _ in range(3))
    shapes = torch.tensor([[6, 8], [3, 4]])
    inputs = dict(
        query=torch.randn(2, 5, 32),
        value=torch.randn(2, 60, 32),
        key_padding_mask=None,
        self_attn_mask=None,
        reference_points=torch.rand(2, 5, 4),
        spatial_shapes=shapes,
        level_start_index=torch.tensor([0, 48]),
        valid_ratios=torch.rand(2, 2, 2) / 2 + 0.5,
        reg_branches=branches,
    )
    found, wanted = ours(**inputs), theirs(**inputs)
    torch.testing.assert_close(found, wanted)
    (grad,) = torch.autograd.grad(found[1].sum(), branches[0].weight)
    (expected,) = torch.autograd.grad(wanted[1].sum(), branches[0].weight)
    torch.testing.assert_close(grad, expected)


def test_shapes_are_those_of_published_weights():
    """The zoo's first layer of positions takes 128 sines for each of four numbers."""
    decoder = dict(
        DECODER,
        num_layers=1,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=256, num_heads=2),
            cross_attn_cfg=dict(embed_dims=256),
            ffn_cfg=dict(embed_dims=256, feedforward_channels=24),
        ),
    )
    weights = ZooDINODecoder(**decoder).state_dict()
    assert weights['ref_point_head.layers.0.weight'].shape == (256, 512)


def test_the_detector_is_mmdetections_but_for_positions():
    config = host_config('dino')
    ours = MODELS.build(config).eval()
    # MMDetection allocates embeddings of levels, and fills them only here.
    ours.init_weights()
    theirs = MODELS.build(dict(host_config('dino'), type='DINO')).eval()
    names = ours.state_dict().keys()
    assert names == theirs.state_dict().keys()
    theirs.decoder = ours.decoder
    theirs.load_state_dict(ours.state_dict())
    imgs, frames = make_frames([1, 2])
    with torch.no_grad():
        torch.testing.assert_close(
            ours(imgs, frames, mode='tensor'), theirs(imgs, frames, mode='tensor')
        )
