# Copyright (c) mmfdta authors.
"""The stand-in's focal losses against cross entropy."""

import importlib

import mmcv
import mmcv.ops
import pytest
import torch

from mmfdta.utils import mmcv_ext as operators

STAND_IN = operators.make_stand_in('for the tests')
FOCAL = importlib.import_module('mmcv.ops.focal_loss')


def log_sigmoid_focal_loss(logits, target, weight, gamma, alpha):
    """The same loss from PyTorch's cross entropy instead of probabilities."""
    one_hot = torch.nn.functional.one_hot(target, logits.shape[1] + 1)[:, :-1]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, one_hot.to(logits), reduction='none'
    )
    miss = torch.where(one_hot == 1, 1 - logits.sigmoid(), logits.sigmoid())
    balance = torch.where(one_hot == 1, alpha, 1 - alpha)
    loss = balance * miss**gamma * entropy
    return loss if weight is None else loss * weight[target][:, None]


@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
@pytest.mark.parametrize('weighted', [False, True])
def test_sigmoid_focal_loss_and_gradient(monkeypatch, reduction, weighted):
    monkeypatch.setattr(FOCAL, 'ext_module', STAND_IN)
    logits = (torch.randn(7, 4, dtype=torch.float64) * 3).requires_grad_()
    # Class 4 is background, which a weight per class cannot stand for.
    target = torch.tensor([0, 1, 2, 3, 0, 1, 2 if weighted else 4])
    weight = torch.rand(4, dtype=torch.float64) + 0.5 if weighted else None
    loss = mmcv.ops.sigmoid_focal_loss(logits, target, 1.5, 0.3, weight, reduction)
    expected = log_sigmoid_focal_loss(logits, target, weight, 1.5, 0.3)
    if reduction != 'none':
        expected = expected.sum() / (7 if reduction == 'mean' else 1)
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), logits)[0])


@pytest.mark.parametrize('weighted', [False, True])
def test_softmax_focal_loss_and_gradient(monkeypatch, weighted):
    monkeypatch.setattr(FOCAL, 'ext_module', STAND_IN)
    logits = (torch.randn(6, 5, dtype=torch.float64) * 3).requires_grad_()
    target = torch.tensor([0, 1, 2, 3, 4, 4])
    weight = torch.rand(5, dtype=torch.float64) + 0.5 if weighted else None
    loss = mmcv.ops.softmax_focal_loss(logits, target, 2.5, 0.3, weight, 'mean')
    log_p = logits.log_softmax(1)[torch.arange(6), target]
    expected = -0.3 * (1 - log_p.exp()) ** 2.5 * log_p
    if weighted:
        expected = expected * weight[target]
    torch.testing.assert_close(loss, expected.mean())
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(
        gradient, torch.autograd.grad(expected.mean(), logits)[0]
    )


def test_softmax_focal_loss_ignores_negative_targets(monkeypatch):
    monkeypatch.setattr(FOCAL, 'ext_module', STAND_IN)
    logits = torch.randn(2, 3, requires_grad=True)
    target = torch.tensor([-1, 1])
    loss = mmcv.ops.softmax_focal_loss(logits, target, 2.0, 0.25, None, 'sum')
    alone = mmcv.ops.softmax_focal_loss(logits[1:], target[1:], 2.0, 0.25, None, 'sum')
    torch.testing.assert_close(loss, alone)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[0].abs().sum() == 0 and gradient[1].abs().sum() > 0


@pytest.mark.parametrize('logit', [-1000.0, 1000.0])
def test_sigmoid_focal_loss_stays_finite_far_out(monkeypatch, logit):
    monkeypatch.setattr(FOCAL, 'ext_module', STAND_IN)
    logits = torch.full((1, 2), logit, requires_grad=True)
    loss = mmcv.ops.sigmoid_focal_loss(logits, torch.tensor([0]), 2.0, 0.25)
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()
