# Copyright (c) mmfdta authors.
"""`contrast` against its equations, with the gradient that autograd finds for them."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmfdta.ops.contrast import contrast, plain_contrast


def positive_pairs(names: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """List the pairs of one name of (K, n) places, counted through all places."""
    same = (
        (names[:, :, None] == names[:, None]) & present[:, :, None] & present[:, None]
    )
    same.diagonal(dim1=1, dim2=2).fill_(False)
    chunk, i, j = same.nonzero(as_tuple=True)
    return chunk * names.shape[1] + i, chunk * names.shape[1] + j


@pytest.mark.parametrize('temperature', [0.05, 0.1, 1.0])
@pytest.mark.parametrize(('chunks', 'places'), [(1, 2), (3, 7), (4, 24)])
def test_equals_the_equations(chunks: int, places: int, temperature: float) -> None:
    torch.manual_seed(chunks)
    unit = F.normalize(torch.randn(chunks, places, 5, dtype=torch.float64), dim=-1)
    unit.requires_grad_()
    names = torch.randint(0, 3, (chunks, places))
    quality = torch.rand(chunks, places, dtype=torch.float64)
    present = torch.rand(chunks, places) < 0.8
    # A chunk of one name has no negatives, and one is empty.
    names[0] = 0
    present[-1] = chunks == 1
    good = present & (quality > 0.3)
    i, j = positive_pairs(names, present)

    expected = plain_contrast(unit, names, quality, good, temperature)
    (gradient,) = torch.autograd.grad(expected, unit)
    found = contrast(unit, names, quality, good, i, j, temperature)
    (of_found,) = torch.autograd.grad(found, unit)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(of_found, gradient)
