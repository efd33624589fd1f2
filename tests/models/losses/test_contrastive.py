# Copyright (c) mmfdta authors.
"""QualityAwareContrastiveLoss against goldens, a plain-loop oracle and gradcheck."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor

from mmfdta.models.losses import QualityAwareContrastiveLoss

DATA = Path(__file__).parents[2] / 'golden/data/loss_contrastive.npz'


def plain(
    embeddings: Tensor,
    labels: Tensor,
    qualities: Tensor,
    temperature: float = 0.1,
    quality_thr: float = 0.5,
) -> Tensor:
    """The loss of one chunk, pair by pair."""
    keep = [i for i in range(len(labels)) if qualities[i] >= quality_thr]
    unit = [embeddings[i] / embeddings[i].norm() for i in keep]
    names = [int(labels[i]) for i in keep]
    quality = [float(qualities[i]) for i in keep]
    anchors = []
    for i, anchor in enumerate(unit):
        sims = [anchor @ other / temperature for other in unit]
        terms = []
        for j in range(len(unit)):
            if j == i or names[j] != names[i]:
                continue
            denominator = sims[j].exp() + sum(
                sims[k].exp() for k in range(len(unit)) if names[k] != names[i]
            )
            weight = 2 * quality[i] * quality[j] / (quality[i] + quality[j])
            terms.append(weight * -torch.log(sims[j].exp() / denominator))
        if terms:
            anchors.append(sum(terms) / len(terms))
    if not anchors:
        return embeddings.sum() * 0
    return temperature * sum(anchors) / len(anchors)


def draw(n: int, identities: int, dim: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    embeddings = torch.randn(n, dim, dtype=torch.double, requires_grad=True)
    labels = torch.randint(0, identities, (n,))
    return embeddings, labels, torch.rand(n, dtype=torch.double) * 1.4 - 0.4


def test_golden():
    with np.load(DATA) as golden:
        values = {key: torch.as_tensor(golden[key]) for key in golden if key != 'meta'}
    embeddings = values['in_embeddings'].requires_grad_()
    loss_module = MODELS.build(dict(type='QualityAwareContrastiveLoss'))
    weight = values['in_iou_weight']
    loss = loss_module(embeddings, values['in_labels'], weight)
    torch.testing.assert_close(
        loss.double(), values['out_loss'], rtol=1e-5, atol=0, check_dtype=False
    )
    (grad,) = torch.autograd.grad(loss, embeddings)
    torch.testing.assert_close(grad, values['out_grad_embeddings'], rtol=0, atol=1e-6)

    loss = loss_module(embeddings, torch.arange(len(embeddings)), weight)
    (grad,) = torch.autograd.grad(loss, embeddings)
    assert loss.item() == values['out_no_positive_loss'].item()
    assert grad.abs().max().item() == values['out_no_positive_grad_absmax'].item()


@pytest.mark.parametrize('identities', [1, 2, 5, 40])
@pytest.mark.parametrize('n', [2, 3, 17, 31])
def test_equals_plain_loops(n: int, identities: int):
    embeddings, labels, qualities = draw(n, identities)
    found = QualityAwareContrastiveLoss()(embeddings, labels, qualities)
    expected = plain(embeddings, labels, qualities)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, embeddings),
        torch.autograd.grad(expected, embeddings),
    )


@pytest.mark.parametrize(('reduction', 'divisor'), [('sum', 1), ('mean', 4)])
def test_chunks_of_any_order_and_size(reduction: str, divisor: int):
    embeddings, labels, qualities = draw(40, 4)
    chunk_ids = torch.tensor([7] * 1 + [2] * 20 + [3] * 12 + [0] * 7)
    chunk_ids = chunk_ids[torch.randperm(40)]
    loss_module = QualityAwareContrastiveLoss(reduction=reduction)
    found = loss_module(embeddings, labels, qualities, chunk_ids)
    expected = sum(
        plain(embeddings[here], labels[here], qualities[here])
        for here in (chunk_ids == chunk for chunk in (0, 2, 3, 7))
    )
    torch.testing.assert_close(found, expected / divisor)
    torch.testing.assert_close(
        torch.autograd.grad(found, embeddings),
        torch.autograd.grad(expected / divisor, embeddings),
    )


def test_gradcheck():
    embeddings, labels, qualities = draw(11, 3)
    chunk_ids = torch.tensor([0] * 6 + [1] * 5)
    assert torch.autograd.gradcheck(
        lambda x: QualityAwareContrastiveLoss(quality_thr=0)(
            x, labels, qualities.abs(), chunk_ids
        ),
        embeddings,
    )


def test_gate_is_inclusive_and_cuts_the_gradient():
    embeddings, labels, _ = draw(6, 1)
    qualities = torch.tensor([0.5, 0.5, 0.4999, 0.9, -0.3, 0.2])
    other = torch.randn(6, 7, dtype=torch.double)
    other[[0, 1, 3]] = embeddings[[0, 1, 3]].detach()
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    loss = QualityAwareContrastiveLoss()(embeddings, labels, qualities)
    assert loss > 0
    assert loss.item() == pytest.approx(
        QualityAwareContrastiveLoss()(other, labels, qualities).item()
    )
    (grad,) = torch.autograd.grad(loss, embeddings)
    assert grad[[2, 4, 5]].abs().max() == 0


@pytest.mark.parametrize('n', [0, 1])
def test_too_few_embeddings(n: int):
    embeddings = torch.randn(n, 8, requires_grad=True)
    labels = torch.zeros(n, dtype=torch.long)
    loss = QualityAwareContrastiveLoss()(embeddings, labels, torch.ones(n), labels)
    loss.backward()
    assert loss.item() == 0
    assert embeddings.grad.abs().sum().item() == 0


def test_low_precision_is_computed_in_float32():
    embeddings, labels, qualities = draw(30, 6, dim=64)
    half = embeddings.detach().to(torch.bfloat16).requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = QualityAwareContrastiveLoss()(half, labels, qualities.float())
    assert loss.dtype == torch.float32
    expected = plain(half.double(), labels, qualities)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    assert half.grad.dtype == torch.bfloat16
    assert half.grad.isfinite().all()


def test_sharp_temperature_stays_finite():
    embeddings, labels, qualities = draw(20, 4)
    loss = QualityAwareContrastiveLoss(temperature=1e-3)(
        embeddings.float(), labels, qualities.float()
    )
    expected = QualityAwareContrastiveLoss(temperature=1e-3)(
        embeddings, labels, qualities
    )
    assert math.isfinite(loss.item())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-3)


@pytest.mark.parametrize(
    'setting', [dict(temperature=0), dict(quality_thr=-0.1), dict(reduction='none')]
)
def test_bad_settings(setting: dict):
    with pytest.raises(ValueError, match=next(iter(setting))):
        QualityAwareContrastiveLoss(**setting)
