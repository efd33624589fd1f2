# Copyright (c) mmfdta authors.
"""Depth attention beside MMDetection's decoder layers, and depth of 1 to 3 levels."""

import copy
import pickle

import pytest
import torch
from mmdet.models.layers import (
    ConditionalDetrTransformerDecoder,
    DABDetrTransformerDecoder,
    DeformableDetrTransformerDecoderLayer,
    DetrTransformerDecoder,
)
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmfdta.models import SpatialAdapter
from mmfdta.models.adapters import DepthFeatures
from mmfdta.models.detectors.depth_attention import DepthLayers
from mmfdta.models.detectors.layers import FDTADecoderLayer

CHANNELS, HEADS, FRAMES, QUERIES, LAYERS = 16, 4, 2, 7, 2
SHAPES = torch.tensor([[4, 6], [2, 3]])
SELF = dict(embed_dims=CHANNELS, num_heads=HEADS, dropout=0.0)
CROSS = dict(SELF, num_levels=2, num_points=2, batch_first=True)
FFN = dict(embed_dims=CHANNELS, feedforward_channels=24)


def _depth(padded: bool = True) -> DepthFeatures:
    embed = torch.randn(FRAMES, 24, CHANNELS, requires_grad=True)
    mask = torch.zeros(FRAMES, 24, dtype=torch.bool)
    mask[1, 18:] = True
    nothing = torch.zeros(())
    return DepthFeatures(nothing, embed, mask if padded else None, nothing)


def _deformable_inputs() -> dict:
    tokens = int(SHAPES.prod(1).sum())
    return dict(
        query=torch.randn(FRAMES, QUERIES, CHANNELS, requires_grad=True),
        query_pos=torch.randn(FRAMES, QUERIES, CHANNELS),
        value=torch.randn(FRAMES, tokens, CHANNELS),
        key_padding_mask=torch.zeros(FRAMES, tokens, dtype=torch.bool),
        reference_points=torch.rand(FRAMES, QUERIES, 2, 2),
        spatial_shapes=SHAPES,
        level_start_index=torch.tensor([0, 24]),
    )


def _layers() -> tuple[nn.Module, nn.Module, DepthLayers]:
    """A layer with depth attention in it, MMDetection's, and the attention beside it.

    The last two have the weights of the first.
    """
    torch.manual_seed(0)
    parts = dict(cross_attn_cfg=CROSS, ffn_cfg=FFN)
    inside = FDTADecoderLayer(
        depth_attn_cfg=SELF, self_attn_cfg=dict(SELF), **copy.deepcopy(parts)
    )
    plain = DeformableDetrTransformerDecoderLayer(self_attn_cfg=dict(SELF), **parts)
    beside = DepthLayers([plain], CHANNELS)
    weights = inside.state_dict()
    plain.load_state_dict({k: weights[k] for k in plain.state_dict()})
    depth = {k: weights[k.removeprefix('0.')] for k in beside.state_dict()}
    beside.load_state_dict(depth)
    assert len(plain.state_dict()) + len(depth) == len(weights)
    return inside, plain, beside


@pytest.mark.parametrize('padded', [False, True])
def test_attention_beside_a_layer_is_attention_inside_of_it(padded: bool):
    inside, plain, beside = _layers()
    inputs, depth = _deformable_inputs(), _depth(padded)
    expected = inside(**inputs, depth=depth)
    with beside.attending([plain], depth):
        found = plain(**inputs)
    torch.testing.assert_close(found, expected)
    leaves = inputs['query'], depth.embed
    direction = torch.randn_like(found)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves, direction, retain_graph=True),
        torch.autograd.grad(expected, leaves, direction, retain_graph=True),
    )
    known = dict(inside.named_parameters())
    for module in (plain, beside):
        for name, weight in module.named_parameters():
            (grad,) = torch.autograd.grad(found, weight, direction, retain_graph=True)
            (wanted,) = torch.autograd.grad(
                expected,
                known[name.removeprefix('0.')],
                direction,
                retain_graph=True,
            )
            torch.testing.assert_close(grad, wanted, msg=name)


def test_a_layer_is_left_as_it_was():
    """After the block, after an error in it, in copies and in files."""
    _, plain, beside = _layers()
    inputs, depth = _deformable_inputs(), _depth()
    names = list(plain.state_dict())
    without = plain(**inputs)
    with beside.attending([plain], depth):
        with_depth = plain(**inputs)
        assert list(plain.state_dict()) == names
    assert not without.allclose(with_depth)
    with pytest.raises(RuntimeError), beside.attending([plain], depth):
        plain(**dict(inputs, query=torch.zeros(FRAMES, QUERIES, CHANNELS + 1)))
    assert plain(**inputs).equal(without)
    for copied in (copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))):
        layer, attention = copied((plain, beside))
        with attention.attending([layer], depth):
            assert layer(**inputs).equal(with_depth)
        assert plain(**inputs).equal(without)


def test_a_pass_that_is_computed_again_attends_again():
    _, plain, beside = _layers()
    inputs, depth = _deformable_inputs(), _depth()

    def run(query: torch.Tensor) -> torch.Tensor:
        with beside.attending([plain], depth):
            return plain(**dict(inputs, query=query))

    weights = [inputs['query'], depth.embed, *plain.parameters(), *beside.parameters()]
    kept, again = (
        torch.autograd.grad(out.square().sum(), weights)
        for out in (
            run(inputs['query']),
            checkpoint(run, inputs['query'], use_reentrant=False),
        )
    )
    torch.testing.assert_close(again, kept, rtol=0, atol=0)


SINGLE_LEVEL = {
    'DETR': (DetrTransformerDecoder, SELF, SELF, {}),
    'Conditional DETR': (
        ConditionalDetrTransformerDecoder,
        dict(embed_dims=256, num_heads=HEADS, attn_drop=0.0, cross_attn=False),
        dict(embed_dims=256, num_heads=HEADS, attn_drop=0.0, cross_attn=True),
        {},
    ),
    'DAB-DETR': (
        DABDetrTransformerDecoder,
        dict(embed_dims=CHANNELS, num_heads=HEADS, attn_drop=0.0, cross_attn=False),
        dict(embed_dims=CHANNELS, num_heads=HEADS, attn_drop=0.0, cross_attn=True),
        dict(reg_branches=nn.Linear(CHANNELS, 4)),
    ),
}


@pytest.mark.parametrize('host', SINGLE_LEVEL)
def test_decoders_of_other_kinds_attend_before_every_ffn(host: str):
    """Each layer's queries, by what comes in at its FFN; and no frame sees another."""
    kind, self_cfg, cross_cfg, more = SINGLE_LEVEL[host]
    torch.manual_seed(0)
    channels = self_cfg['embed_dims']
    decoder = kind(
        num_layers=LAYERS,
        layer_cfg=dict(
            self_attn_cfg=dict(self_cfg),
            cross_attn_cfg=dict(cross_cfg),
            ffn_cfg=dict(FFN, embed_dims=channels),
        ),
        return_intermediate=True,
    )
    layers = list(decoder.layers)
    attention = DepthLayers(layers, channels)
    assert [part.depth_attn.attn.num_heads for part in attention] == [HEADS] * LAYERS
    positions = 4 if host == 'DAB-DETR' else channels
    tokens = torch.randn(2, FRAMES, 12, channels)
    inputs = dict(
        query=torch.randn(FRAMES, QUERIES, channels),
        key=tokens[0],
        query_pos=torch.randn(FRAMES, QUERIES, positions),
        key_pos=tokens[1],
        key_padding_mask=None,
        **({'value': tokens[0]} if host == 'DETR' else {}),
        **more,
    )
    embed = torch.randn(FRAMES, 24, channels)
    depth = _depth()._replace(embed=embed)
    before, after = [], []
    for layer in layers:
        layer.norms[1].register_forward_hook(lambda m, args, out: before.append(out))
        layer.ffn.layers.register_forward_pre_hook(lambda m, x: after.append(x[0]))
    with torch.no_grad(), attention.attending(layers, depth):
        states = decoder(**inputs)
    states = states if host == 'DETR' else states[0]
    assert len(before) == len(after) == LAYERS
    for part, given, got in zip(attention, before, after, strict=True):
        query, visible = given[1:], ~depth.mask[1:]
        keys = embed[1:, visible[0]]
        weights = part.depth_attn.attn
        plain = nn.MultiheadAttention(channels, HEADS, batch_first=True)
        plain.load_state_dict(weights.state_dict())
        wanted = part.depth_norm(query + plain(query, keys, keys)[0])
        torch.testing.assert_close(got[1:], wanted)
    changed = depth._replace(embed=embed + torch.tensor([1.0, 0])[:, None, None])
    with torch.no_grad(), attention.attending(layers, changed):
        others = decoder(**inputs)
    others = others if host == 'DETR' else others[0]
    torch.testing.assert_close(others[:, 1], states[:, 1])
    assert not others[:, 0].allclose(states[:, 0])


def test_layers_that_cannot_attend_are_refused():
    with pytest.raises(ValueError, match='layer 0, a Linear, has no `ffn`'):
        DepthLayers([nn.Linear(2, 2)], CHANNELS)
    with pytest.raises(ValueError, match='without decoder layers'):
        DepthLayers([], CHANNELS)


@torch.no_grad()
def test_a_closed_gate_hands_on_the_query():
    """Bit by bit; open it is the attention without a gate, half open halfway."""
    _, plain, beside = _layers()
    gated = DepthLayers([plain], CHANNELS, dict(gated=True))
    missing = gated.load_state_dict(beside.state_dict(), strict=False).missing_keys
    assert missing == ['0.depth_attn_gate']
    query, depth = torch.randn(FRAMES, QUERIES, CHANNELS), _depth()
    assert torch.equal(gated[0](query, depth), query)
    for opening in (0.5, 1.0):
        gated[0].depth_attn_gate.fill_(opening)
        expected = query.lerp(beside[0](query, depth), opening)
        torch.testing.assert_close(gated[0](query, depth), expected)


def test_a_closed_gate_learns_and_opens_the_rest():
    """In the first step the gate alone gets a gradient, then all weights do."""
    layer = FDTADecoderLayer(
        depth_attn_cfg=dict(SELF, gated=True),
        self_attn_cfg=dict(SELF),
        cross_attn_cfg=CROSS,
        ffn_cfg=FFN,
    )
    inputs, depth = _deformable_inputs(), _depth()
    weights = {k: v for k, v in layer.named_parameters() if k.startswith('depth_')}
    gate = weights.pop('depth_attn_gate')
    direction = torch.randn(FRAMES, QUERIES, CHANNELS)

    def grads() -> tuple[torch.Tensor, ...]:
        total = (layer(**inputs, depth=depth) * direction).sum()
        return torch.autograd.grad(total, [gate, *weights.values()])

    first, *others = grads()
    assert first.all() and not any(grad.any() for grad in others)
    with torch.no_grad():
        gate -= 0.1 * first
    assert all(grad.any() for grad in grads())


def _adapter(**kwargs) -> SpatialAdapter:
    torch.manual_seed(0)
    sizes = dict(num_bins=5, num_heads=2, num_groups=2, dropout=0.0)
    return SpatialAdapter(CHANNELS, **sizes, **kwargs).eval()


ODD = [(13, 17), (7, 9), (4, 5), (2, 3), (1, 2)]


@pytest.mark.parametrize('first', [0, 1, 2])
@pytest.mark.parametrize('count', [1, 2, 3])
def test_the_levels_that_are_asked_for_are_averaged(count: int, first: int):
    """An average of one level is that level; equal levels average to each."""
    adapter = _adapter(num_levels=count, first_level=first, feature_gradient=1.0)
    feats = [torch.randn(FRAMES, CHANNELS, *size, requires_grad=True) for size in ODD]
    height, width = ODD[first]
    pos = torch.zeros(1, height * width, CHANNELS)
    out = adapter(feats, None, pos)
    assert out.logits.shape == (FRAMES, 6, height, width)
    assert out.embed.shape == (FRAMES, height * width, CHANNELS)
    logits = out.logits.sum()
    grads = torch.autograd.grad(logits, feats, retain_graph=True, allow_unused=True)
    used = [grad is not None for grad in grads]
    assert used == [first <= level < first + count for level in range(len(ODD))]
    # Every weight is in use, or several processes could not train it.
    logits.backward(retain_graph=True)
    out.embed.square().sum().backward()
    assert all(weight.grad is not None for weight in adapter.parameters())
    pixel = torch.randn(FRAMES, CHANNELS, 1, 1)
    same = [pixel.expand(-1, -1, *size) for size in ODD]
    if count > 1:
        adapter.coarse_proj.load_state_dict(adapter.fine_proj.state_dict())
    alone = _adapter(num_levels=1)
    alone.load_state_dict(
        {k: v for k, v in adapter.state_dict().items() if 'coarse' not in k}
    )
    torch.testing.assert_close(
        adapter(same, None, pos).expected, alone([same[first]], None, pos).expected
    )


def test_features_learn_as_much_as_they_are_told():
    """From depth logits, and from the embedding through the expected depth."""
    feats = [torch.randn(FRAMES, CHANNELS, *size, requires_grad=True) for size in ODD]
    pos = torch.zeros(1, 13 * 17, CHANNELS)
    found = []
    for factor in (1.0, 0.25, 0.0):
        out = _adapter(feature_gradient=factor)(feats, None, pos)
        total = out.logits.square().sum() + out.embed.square().sum()
        grads = torch.autograd.grad(total, feats[:3], allow_unused=True)
        found.append((out.logits, out.embed, grads))
    (logits, embed, whole), *weaker = found
    for other in weaker:
        assert torch.equal(other[0], logits) and torch.equal(other[1], embed)
    torch.testing.assert_close(weaker[0][2], tuple(0.25 * grad for grad in whole))
    assert weaker[1][2] == (None, None, None)
    with pytest.raises(ValueError, match='feature_gradient=-1, expected a finite'):
        _adapter(feature_gradient=-1)


def test_depth_without_an_embedding_is_the_same_depth():
    """And has no weights that nothing uses."""
    feats = [torch.randn(FRAMES, CHANNELS, *size) for size in ODD]
    pos = torch.zeros(1, 13 * 17, CHANNELS)
    whole, alone = _adapter(), _adapter(with_embedding=False)
    kept = {k: v for k, v in whole.state_dict().items() if k in alone.state_dict()}
    alone.load_state_dict(kept)
    expected, found = (adapter(feats, None, pos) for adapter in (whole, alone))
    assert found.embed is None
    assert torch.equal(found.logits, expected.logits)
    found.logits.sum().backward()
    assert all(weight.grad is not None for weight in alone.parameters())


def test_missing_levels_are_named():
    with pytest.raises(ValueError, match='found 2 levels .* 1 \\+ 3; lower'):
        _adapter(first_level=1)([torch.zeros(1, CHANNELS, 2, 2)] * 2, None, None)
    with pytest.raises(ValueError, match='num_levels=4, expected 1 to 3'):
        _adapter(num_levels=4)
