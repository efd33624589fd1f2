# Copyright (c) mmfdta authors.
"""Depth bins and the embedding looked up at real-valued depths."""

import pytest
import torch

from mmfdta.models import SpatialAdapter
from mmfdta.utils.depth import lid_bin_values


def _adapter() -> SpatialAdapter:
    torch.manual_seed(0)
    return SpatialAdapter(8, num_bins=5, num_heads=2, num_groups=2, dropout=0.0)


@pytest.mark.parametrize('num_bins', [5, 120, 150])
def test_bin_values_are_the_lower_edges(num_bins: int):
    """Bin i is i + 1 times as wide as the first; together they fill the range."""
    values = lid_bin_values(num_bins, 1e-3, 256.0).double()
    widths = values.diff()
    assert values[0] == pytest.approx(1e-3)
    assert values[-1] == 256
    steps = torch.arange(1, num_bins + 1)
    torch.testing.assert_close(widths / widths[0], steps.double(), rtol=2e-3, atol=0)


def test_embedding_is_linear_between_integers():
    adapter = _adapter()
    table = adapter.depth_embedding.weight
    depth = torch.tensor([[[0.0, 3.25, 255.5, 256.0, 300.0]]])
    found = adapter.embed_depth(depth)[0, 0]
    expected = [
        table[0],
        0.75 * table[3] + 0.25 * table[4],
        0.5 * table[255] + 0.5 * table[256],
        table[256],
        table[256],
    ]
    torch.testing.assert_close(found, torch.stack(expected))


def test_expected_depth_of_a_certain_bin():
    adapter = _adapter().eval()
    with torch.no_grad():
        adapter.depth_classifier.weight.zero_()
        adapter.depth_classifier.bias.fill_(-50)
        adapter.depth_classifier.bias[2] = 50
    feats = [torch.randn(1, 8, 8 // s, 8 // s) for s in (1, 2, 4)]
    out = adapter(feats, None, torch.zeros(1, 64, 8))
    expected = adapter.bin_values[2].expand(1, 8, 8)
    torch.testing.assert_close(out.expected, expected)


def test_padding_does_not_reach_the_rest():
    adapter = _adapter().eval()
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[..., 6:] = True
    tokens, pos = torch.randn(1, 64, 8), torch.randn(1, 64, 8)
    changed = tokens + mask.flatten(1)[..., None]
    visible = ~mask.flatten(1)[:, None, None]
    a, b = (adapter.depth_encoder(x, pos, visible) for x in (tokens, changed))
    torch.testing.assert_close(a[~mask.flatten(1)], b[~mask.flatten(1)])
