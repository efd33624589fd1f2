# Copyright (c) mmfdta authors.
"""Attention without weights against PyTorch's own."""

import pytest
import torch
from mmcv.cnn.bricks.transformer import MultiheadAttention as MMCVAttention
from torch import nn

from mmfdta.models.layers import DetrAttention, MultiheadAttention


@pytest.mark.parametrize('zero', [False, True])
@pytest.mark.parametrize('masked', [False, True])
def test_equals_torch(zero: bool, masked: bool):
    torch.manual_seed(0)
    ours = MultiheadAttention(24, 4, add_zero_attn=zero)
    theirs = nn.MultiheadAttention(24, 4, add_zero_attn=zero, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    q, k = torch.randn(3, 5, 24), torch.randn(3, 7, 24)
    masked_keys = torch.rand(3, 7) < 0.4
    masked_keys[:, 0] = False
    bias = torch.randn(3, 4, 5, 7)
    if masked:
        mask = bias.masked_fill(masked_keys[:, None, None], -torch.inf)
        expected, _ = theirs(
            q, k, k, key_padding_mask=masked_keys, attn_mask=bias.flatten(0, 1)
        )
    else:
        mask = None
        expected, _ = theirs(q, k, k)
    torch.testing.assert_close(ours(q, k, k, mask), expected)


def test_zero_token_saves_rows_without_keys():
    attention = MultiheadAttention(8, 2, add_zero_attn=True)
    x = torch.randn(1, 3, 8, requires_grad=True)
    out = attention(x, x, x, torch.zeros(1, 1, 3, 3, dtype=torch.bool))
    # Only the zero value is left: what remains is the output projection's bias.
    torch.testing.assert_close(out, attention.out_proj.bias.expand_as(out))
    out.sum().backward()
    assert x.grad.isfinite().all()


def test_detr_attention_equals_mmcv():
    torch.manual_seed(0)
    ours = DetrAttention(24, 4)
    theirs = MMCVAttention(24, 4, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    q, k = torch.randn(2, 5, 24), torch.randn(2, 7, 24)
    pos_q, pos_k = torch.randn(2, 5, 24), torch.randn(2, 7, 24)
    masked_keys = torch.zeros(2, 7, dtype=torch.bool)
    masked_keys[1, 4:] = True
    options = dict(query_pos=pos_q, key_pos=pos_k, key_padding_mask=masked_keys)
    torch.testing.assert_close(ours(q, k, k, **options), theirs(q, k, k, **options))
