# Copyright (c) mmfdta authors.
"""What the ID decoder may see, and what must not matter."""

import pytest
import torch
from torch import Tensor

from mmfdta.models import IDDecoder
from mmfdta.models.association.id_decoder import NEVER, TimeBiasedAttention
from mmfdta.models.layers import MultiheadAttention

T, N, K = 5, 4, 6


def _decoder(**kwargs) -> IDDecoder:
    torch.manual_seed(0)
    options = dict(num_layers=3, head_dims=8, max_relative_time=T) | kwargs
    decoder = IDDecoder(16, 16, num_id_vocabulary=K, **options)
    decoder.init_weights()
    torch.nn.init.normal_(decoder.rel_pos_embeds)
    return decoder


def _inputs(batch: int = 2, groups: int = 2) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(1)
    shape = batch, groups, T, N
    return dict(
        trajectory_features=torch.randn(*shape, 16, generator=g),
        trajectory_labels=torch.randint(
            0, K, (batch, groups, 1, N), generator=g
        ).expand(shape),
        trajectory_masks=torch.rand(shape, generator=g) < 0.3,
        trajectory_times=torch.arange(T),
        unknown_features=torch.randn(*shape, 16, generator=g),
        unknown_masks=torch.rand(shape, generator=g) < 0.3,
        unknown_times=torch.arange(T),
    )


@torch.no_grad()
def test_only_earlier_frames_are_visible():
    decoder, x = _decoder().eval(), _inputs()
    changed = dict(x, trajectory_features=x['trajectory_features'].clone())
    changed['trajectory_features'][:, :, 3:] += 1
    a, b = decoder(**x), decoder(**changed)
    torch.testing.assert_close(a[:, :, :4], b[:, :, :4])
    assert not torch.allclose(a[:, :, 4], b[:, :, 4])


@torch.no_grad()
def test_missing_observations_and_detections_are_masked():
    decoder, x = _decoder().eval(), _inputs()
    changed = dict(
        x,
        trajectory_features=x['trajectory_features'] + x['trajectory_masks'][..., None],
        unknown_features=x['unknown_features'] + x['unknown_masks'][..., None],
    )
    valid = ~x['unknown_masks']
    torch.testing.assert_close(decoder(**x)[valid], decoder(**changed)[valid])


@torch.no_grad()
def test_order_of_trajectories_does_not_matter():
    decoder, x = _decoder().eval(), _inputs()
    order = torch.tensor([2, 0, 3, 1])
    shuffled = dict(x)
    for name in ('features', 'labels', 'masks'):
        shuffled[f'trajectory_{name}'] = x[f'trajectory_{name}'][:, :, :, order]
    torch.testing.assert_close(decoder(**x), decoder(**shuffled))


@torch.no_grad()
def test_clips_and_groups_are_independent():
    decoder, x = _decoder().eval(), _inputs()
    alone = {k: v if k.endswith('times') else v[1:, 1:] for k, v in x.items()}
    torch.testing.assert_close(decoder(**x)[1:, 1:], decoder(**alone))


def test_without_history_everything_is_finite():
    decoder, x = _decoder().train(), _inputs()
    x['trajectory_masks'] = torch.ones_like(x['trajectory_masks'])
    x['unknown_masks'] = torch.ones_like(x['unknown_masks'])
    features = x['unknown_features'].requires_grad_()
    out = decoder(**x)
    out.square().mean().backward()
    assert out.isfinite().all()
    assert features.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in decoder.parameters())


@torch.no_grad()
def test_a_frame_of_a_video_is_scored_like_the_last_one_of_a_clip():
    """Training reads clips, tracking a history and the frame after it."""
    decoder, x = _decoder().eval(), _inputs()
    clip = decoder(**x)[1, 0, -1]
    seen = ~x['unknown_masks'][1, 0, -1]
    past = {
        name: x[f'trajectory_{name}'][1, 0, :-1]
        for name in ('features', 'masks', 'labels')
    }
    frame = decoder.score_frame(
        past['features'],
        past['masks'],
        past['labels'][0],
        x['unknown_features'][1, 0, -1, seen],
    )
    assert seen.sum() > 1
    torch.testing.assert_close(frame, clip[seen])


@torch.no_grad()
def test_no_detections():
    x = _inputs()
    x['unknown_features'] = x['unknown_features'][:, :, :1, :0]
    x['unknown_masks'] = x['unknown_masks'][:, :, :1, :0]
    x['unknown_times'] = torch.tensor([T])
    assert _decoder().eval()(**x).shape == (2, 2, 1, 0, K + 1)


@pytest.mark.parametrize('aux_loss', [False, True])
def test_checkpointing_changes_nothing(aux_loss: bool):
    grads = []
    for with_cp in (False, True):
        decoder = _decoder(with_cp=with_cp, aux_loss=aux_loss).train()
        decoder(**_inputs()).square().mean().backward()
        grads.append([p.grad for p in decoder.parameters()])
    torch.testing.assert_close(*grads)


@torch.no_grad()
def test_aux_logits_end_with_the_last_layer():
    decoder = _decoder(aux_loss=True)
    stacked = decoder.train()(**_inputs())
    assert len(stacked) == 3
    torch.testing.assert_close(stacked[-1], decoder.eval()(**_inputs()))


def test_head_size_that_does_not_fit():
    with pytest.raises(ValueError, match='head_dims = 5'):
        IDDecoder(16, 16, head_dims=5)


@pytest.mark.parametrize('frames', [1, 4])
@pytest.mark.parametrize('labelled', [5, 1], ids=['observations', 'objects'])
def test_time_bias_and_words_equal_a_mask_and_whole_keys(frames, labelled):
    """Bias as channels and words projected once give what plain attention gives."""
    g = torch.Generator().manual_seed(0)
    attention = TimeBiasedAttention(16, 2)
    torch.nn.init.normal_(attention.in_proj_bias, generator=g)
    query = torch.randn(3, frames * 2, 16, generator=g, requires_grad=True)
    features = torch.randn(3, 5, 3, 10, generator=g, requires_grad=True)
    words = torch.randn(7, 6, generator=g, requires_grad=True)
    labels = torch.randint(0, 7, (3, labelled, 3), generator=g)
    bias = torch.randn(2, frames, 5, generator=g, requires_grad=True)
    seen = torch.rand(frames, 5, generator=g) < 0.6
    missing = torch.rand(3, 15, generator=g) < 0.3
    masked = bias.masked_fill(~seen, NEVER)
    found = attention(query, features, words, labels, masked, missing)
    key = torch.cat([features, words[labels.expand(3, 5, 3)]], dim=-1).flatten(1, 2)

    pairs = bias.masked_fill(~seen, -torch.inf)
    pairs = pairs.repeat_interleave(2, 1).repeat_interleave(3, 2)
    mask = pairs[None].masked_fill(missing[:, None, None], -torch.inf)
    expected = MultiheadAttention.forward(attention, query, key, key, mask)
    torch.testing.assert_close(found, expected)
    leaves = [query, features, words, bias, *attention.parameters()]
    grads = [
        torch.autograd.grad(out.square().sum(), leaves, retain_graph=True)
        for out in (found, expected)
    ]
    torch.testing.assert_close(*grads)
