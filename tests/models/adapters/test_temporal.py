# Copyright (c) mmfdta authors.
"""What the Temporal Adapter may see."""

import torch

from mmfdta.models import TemporalAdapter


def _adapter() -> TemporalAdapter:
    torch.manual_seed(0)
    return TemporalAdapter(
        16, num_layers=2, num_heads=2, feedforward_channels=32
    ).eval()


def _history(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(*shape, 16, generator=generator)
    masks = torch.rand(*shape, generator=generator) < 0.3
    return features.masked_fill(masks[..., None], 0), masks


@torch.no_grad()
def test_the_future_is_masked():
    adapter, (x, masks) = _adapter(), _history(1, 6, 3)
    changed = x.clone()
    changed[:, 4:] += 1
    a, b = adapter(x, masks), adapter(changed, masks)
    torch.testing.assert_close(a[:, :4], b[:, :4])
    assert not torch.allclose(a[:, 4:], b[:, 4:])


@torch.no_grad()
def test_missing_frames_are_masked():
    adapter, (x, masks) = _adapter(), _history(1, 6, 3)
    noise = x + masks[..., None]
    a, b = adapter(x, masks), adapter(noise, masks)
    torch.testing.assert_close(a[~masks], b[~masks])


@torch.no_grad()
def test_identities_are_independent():
    """Batch, groups and identities only share weights."""
    adapter, (x, masks) = _adapter(), _history(2, 3, 5, 4)
    whole = adapter(x, masks)
    for b, g, n in ((0, 0, 0), (1, 2, 3)):
        alone = adapter(x[b, g, :, [n]], masks[b, g, :, [n]])
        torch.testing.assert_close(whole[b, g, :, [n]], alone)


@torch.no_grad()
def test_a_lone_trajectory_keeps_its_masks():
    adapter, (x, masks) = _adapter(), _history(6, 1)
    before = masks.clone()
    adapter(x, masks)
    assert torch.equal(masks, before)


@torch.no_grad()
def test_half_precision():
    adapter, (x, masks) = _adapter(), _history(1, 6, 3)
    expected = adapter(x, masks)
    found = adapter.to(torch.bfloat16)(x.to(torch.bfloat16), masks)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.1, rtol=0.1)


def test_all_missing_is_finite():
    adapter = _adapter().train()
    x = torch.zeros(1, 5, 2, 16, requires_grad=True)
    out = adapter(x, torch.ones(1, 5, 2, dtype=torch.bool))
    out.square().mean().backward()
    assert out.isfinite().all()
    assert x.grad.isfinite().all()
