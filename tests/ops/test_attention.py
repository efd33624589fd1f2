# Copyright (c) mmfdta authors.
"""Attention in blocks against attention in double precision."""

import pytest
import torch
import torch.nn.functional as F

from mmfdta.ops import attention as attention_file
from mmfdta.ops.attention import attention


@pytest.fixture
def blocks(monkeypatch):
    """Take blocks from two keys on, and count the calls."""
    calls = []
    attend = attention_file._attend_in_blocks

    def count(*args):
        calls.append(1)
        return attend(*args)

    monkeypatch.setattr(attention_file, '_blocks_gain', lambda: True)
    monkeypatch.setattr(attention_file, '_FEWEST_KEYS', 2)
    monkeypatch.setattr(attention_file, '_QUERIES', 16)
    monkeypatch.setattr(attention_file, '_KEYS', 24)
    monkeypatch.setattr(attention_file, '_attend_in_blocks', count)
    return calls


def qkv(queries, keys, images=2, heads=3, channels=8, scale=1.0):
    generator = torch.Generator().manual_seed(queries + keys)
    return [
        scale
        * torch.randn(images, n, heads, channels, generator=generator).transpose(1, 2)
        for n in (queries, keys, keys)
    ]


def exact(q, k, v, mask=None):
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.double()
    return F.scaled_dot_product_attention(q.double(), k.double(), v.double(), mask)


@pytest.mark.parametrize('queries', [1, 16, 37])
@pytest.mark.parametrize('keys', [2, 24, 49, 200])
@torch.no_grad()
def test_blocks_of_any_size(blocks, queries, keys):
    q, k, v = qkv(queries, keys)
    found = attention(q, k, v)
    assert len(blocks) == 1
    assert found.shape == q.shape
    torch.testing.assert_close(found, exact(q, k, v).float(), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_size_it_is_made_for(monkeypatch):
    monkeypatch.setattr(attention_file, '_blocks_gain', lambda: True)
    q, k, v = qkv(1300, 2500, images=1, channels=32)
    torch.testing.assert_close(
        attention(q, k, v), exact(q, k, v).float(), rtol=1e-4, atol=1e-6
    )


@torch.no_grad()
def test_masked_keys_have_no_influence(blocks):
    q, k, v = qkv(20, 60)
    mask = torch.rand(2, 1, 1, 60) < 0.5
    k = k.masked_fill(~mask.transpose(2, 3), 0.3)
    found = attention(q, k, v, mask)
    assert len(blocks) == 1
    torch.testing.assert_close(
        found, exact(q, k, v, mask).float(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    'mask',
    [
        torch.zeros(2, 1, 1, 60, dtype=torch.bool),
        torch.rand(2, 3, 20, 60) < 0.8,
        torch.rand(1, 1, 20, 60),
    ],
    ids=['all masked', 'of every pair', 'of numbers'],
)
@torch.no_grad()
def test_other_masks_are_left_to_pytorch(blocks, mask):
    q, k, v = qkv(20, 60)
    found = attention(q, k, v, mask)
    assert not blocks
    torch.testing.assert_close(found, F.scaled_dot_product_attention(q, k, v, mask))


@torch.no_grad()
def test_keys_far_from_the_origin_are_moved(blocks):
    q, k, v = qkv(20, 60)
    k = k + 30
    found = attention(q, k, v)
    assert len(blocks) == 1
    torch.testing.assert_close(found, exact(q, k, v).float(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('scale', [4.0, 100.0, 1e6])
@torch.no_grad()
def test_scores_too_large_for_powers_of_two(blocks, scale):
    q, k, v = qkv(20, 60, scale=scale)
    found = attention(q, k, v)
    assert not blocks
    assert found.isfinite().all()
    torch.testing.assert_close(
        found, exact(q, k, v).float(), rtol=1e-3, atol=1e-3 * scale
    )


@torch.no_grad()
def test_scores_just_below_the_limit(blocks):
    q, k, v = qkv(20, 400, images=1, heads=1)
    k = k - k.mean(2, keepdim=True)
    # One query points along one key: the score that the limit is about.
    q[0, 0, 0] = k[0, 0, 7] * 100
    log2e = 1.4426950408889634
    q *= 59.9 / (q.norm(dim=-1).max() * k.norm(dim=-1).max() * 8**-0.5 * log2e)
    found = attention(q, k, v)
    assert len(blocks) == 1
    torch.testing.assert_close(found, exact(q, k, v).float(), rtol=1e-4, atol=1e-5)


def test_gradients_are_pytorchs(blocks):
    q, k, v = (t.requires_grad_() for t in qkv(20, 60))
    out = attention(q, k, v)
    assert not blocks
    expected = F.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(
        torch.autograd.grad(out.sin().sum(), (q, k, v)),
        torch.autograd.grad(expected.sin().sum(), (q, k, v)),
    )


def test_a_gradient_of_the_values_alone(blocks):
    q, k, v = qkv(20, 60)
    v.requires_grad_()
    attention(q, k, v).sum().backward()
    assert not blocks
    torch.testing.assert_close(
        v.grad.sum(), torch.tensor(20.0 * q[0, :, 0].numel() * 2)
    )


@torch.no_grad()
def test_no_queries_and_other_types(blocks):
    q, k, v = qkv(20, 60)
    assert attention(q[:, :, :0], k, v).shape == (2, 3, 0, 8)
    half = attention(q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert half.dtype == torch.bfloat16
    assert not blocks
    torch.testing.assert_close(half.float(), exact(q, k, v).float(), rtol=0.1, atol=0.1)


@torch.no_grad()
def test_blocks_are_taken_where_they_gain(blocks, monkeypatch):
    """Without dropout on a Zen 5 only; with dropout they save the memory of weights."""
    monkeypatch.setattr(attention_file, '_blocks_gain', lambda: False)
    q, k, v = qkv(20, 60)
    assert attention(q, k, v).equal(F.scaled_dot_product_attention(q, k, v))
    assert not blocks
    attention(q, k, v, None, 0.1)
    assert len(blocks) == 1


@torch.no_grad()
def test_dropout_takes_weights_and_scales_the_others(blocks):
    torch.manual_seed(0)
    q, k, _ = qkv(40, 60, channels=60)
    every = torch.eye(60).expand(2, 3, 60, 60)
    weights = exact(q, k, every).float()
    dropped = attention(q, k, every, None, 0.3)
    assert len(blocks) == 1
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], weights[kept] / 0.7, rtol=1e-4, atol=0)
    # 14,400 draws: five standard deviations are 0.019.
    assert abs(kept.float().mean() - 0.7) < 0.019
