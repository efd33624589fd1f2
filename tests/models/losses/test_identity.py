# Copyright (c) mmfdta authors.
"""IDLoss against goldens and plain loops."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor

from mmfdta.models.losses import IDLoss

DATA = Path(__file__).parents[2] / 'golden/data/loss_id.npz'


@pytest.fixture
def golden() -> dict[str, Tensor]:
    with np.load(DATA) as file:
        return {
            key: torch.as_tensor(file[key])
            for key in file
            if file[key].dtype.kind in 'fib'
        }


@pytest.mark.parametrize(('name', 'use_focal'), [('ce', False), ('focal', True)])
def test_golden(golden: dict[str, Tensor], name: str, use_focal: bool):
    logits = golden['in_id_logits'].requires_grad_()
    loss_module = MODELS.build(dict(type='IDLoss', use_focal=use_focal))
    loss = loss_module(logits, golden['in_id_labels'], golden['in_id_masks'])
    assert loss.item() == pytest.approx(golden[f'out_{name}'].item(), rel=1e-5)
    (grad,) = torch.autograd.grad(loss, logits)
    expected = golden[f'out_{name}_grad'].to(grad)
    torch.testing.assert_close(grad, expected, rtol=0, atol=1e-6)


def test_golden_all_masked(golden: dict[str, Tensor]):
    logits = golden['in_id_logits'].requires_grad_()
    masks = torch.ones_like(golden['in_id_masks'])
    for use_focal in (False, True):
        loss = IDLoss(use_focal=use_focal)(logits, golden['in_id_labels'], masks)
        assert loss.item() == golden['out_ce_all_masked'].item()
        (grad,) = torch.autograd.grad(loss, logits)
        assert grad.abs().max() == 0


def plain(logits: Tensor, labels: Tensor, masks: Tensor, use_focal: bool) -> Tensor:
    """The loss place by place, from the definitions."""
    terms = []
    for place in np.ndindex(*labels.shape):
        if place[-2] == 0 or masks[place]:
            continue
        scores, label = logits[place], int(labels[place])
        if use_focal:
            words = []
            for word, logit in enumerate(scores):
                p = logit.sigmoid()
                if word == label:
                    words.append(-0.25 * (1 - p) ** 2 * p.log())
                else:
                    words.append(-0.75 * p**2 * (1 - p).log())
            terms.append(sum(words) / len(words))
        else:
            terms.append(-scores.softmax(0)[label].log())
    return sum(terms) / len(terms)


@pytest.mark.parametrize('use_focal', [False, True])
def test_equals_plain_loops(use_focal: bool):
    logits = torch.randn(2, 1, 3, 3, 6, dtype=torch.double, requires_grad=True)
    labels = torch.randint(0, 6, (2, 1, 3, 3))
    masks = torch.rand(2, 1, 3, 3) < 0.4
    labels[masks] = -1
    found = IDLoss(use_focal=use_focal)(logits, labels, masks)
    expected = plain(logits, labels, masks, use_focal)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, logits), torch.autograd.grad(expected, logits)
    )


def test_layers_share_labels():
    logits = torch.randn(4, 2, 1, 3, 5, 7)
    labels = torch.randint(0, 7, (2, 1, 3, 5))
    masks = torch.rand(2, 1, 3, 5) < 0.3
    found = IDLoss(loss_weight=3)(logits, labels, masks)
    expected = sum(IDLoss()(layer, labels, masks) for layer in logits) * 3 / 4
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('use_focal', [False, True])
def test_masked_slots_may_hold_anything(use_focal: bool):
    logits = torch.randn(1, 1, 3, 4, 6)
    labels = torch.randint(0, 6, (1, 1, 3, 4))
    masks = torch.rand(1, 1, 3, 4) < 0.5
    loss_module = IDLoss(use_focal=use_focal)
    expected = loss_module(logits, labels, masks)
    logits[masks] = float('nan')
    logits.requires_grad_()
    loss = loss_module(logits, labels, masks)
    assert loss == expected
    loss.backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize('use_focal', [False, True])
@pytest.mark.parametrize('shape', [(1, 1, 1, 3), (1, 2, 4, 0)])
def test_nothing_supervised(shape: tuple[int, ...], use_focal: bool):
    logits = torch.randn(*shape, 5, requires_grad=True)
    loss = IDLoss(use_focal=use_focal)(
        logits, torch.zeros(shape, dtype=torch.long), torch.zeros(shape).bool()
    )
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().sum() == 0


@pytest.mark.parametrize('use_focal', [False, True])
def test_low_precision_is_computed_in_float32(use_focal: bool):
    logits = torch.randn(1, 2, 4, 3, 9).to(torch.bfloat16).requires_grad_()
    labels = torch.randint(0, 9, (1, 2, 4, 3))
    masks = torch.zeros(1, 2, 4, 3, dtype=torch.bool)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = IDLoss(use_focal=use_focal)(logits, labels, masks)
    expected = plain(logits.double(), labels, masks, use_focal)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)
    loss.backward()
    assert logits.grad.dtype == torch.bfloat16


def test_scores_match_the_loss():
    logits = torch.randn(3, 5)
    torch.testing.assert_close(IDLoss().scores(logits), logits.softmax(-1))
    torch.testing.assert_close(IDLoss(use_focal=True).scores(logits), logits.sigmoid())
