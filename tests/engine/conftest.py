# Copyright (c) mmfdta authors.
"""Training of a small FDTA on small data; mixed precision without a GPU."""

import functools

import pytest
import torch
from mmengine.optim.optimizer import amp_optimizer_wrapper as amp_module
from tiny_run import environment, tiny_run

__all__ = ['environment', 'tiny_run']


@pytest.fixture
def scaling_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """MMEngine wants a GPU for mixed precision; PyTorch can do without."""
    monkeypatch.setattr(amp_module, 'is_cuda_available', lambda: True)
    scaler = functools.partial(torch.amp.GradScaler, 'cpu')
    monkeypatch.setattr(amp_module, 'GradScaler', scaler)
