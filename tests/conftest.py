# Copyright (c) mmfdta authors.
"""Settings of the whole suite: seeds, threads, scope, property tests."""

import functools
import os
import random
import socket

import numpy as np
import pytest
import torch
from device_fixtures import _workers, simulated_cuda
from hypothesis import settings
from mmengine.registry import init_default_scope
from yapf.yapflib import yapf_api

import mmfdta.registry  # noqa: F401  (operators and registries first)

__all__ = ['_workers', 'simulated_cuda']

# A long run sets this to 10,000, and then draws new examples each time.
EXAMPLES = os.environ.get('MMFDTA_FUZZ_EXAMPLES')
settings.register_profile(
    'suite',
    deadline=None,
    max_examples=int(EXAMPLES or 50),
    derandomize=EXAMPLES is None,
)
settings.load_profile('suite')
torch.set_num_threads(1)
init_default_scope('mmdet')


@functools.lru_cache(maxsize=64)
def _format(text: str, style: tuple, code=yapf_api.FormatCode) -> tuple[str, bool]:
    return code(text, style_config=dict(style))


# MMEngine formats the config of a run each time that it logs, writes or saves it, which
# takes half the time of a tiny training. The text is the same each time.
yapf_api.FormatCode = lambda text, style_config: _format(
    text, tuple(style_config.items())
)


@pytest.fixture
def free_port() -> int:
    """A port for a process that binds it seconds later.

    It lies below the range that systems give to outgoing connections: one of those
    would take it in the meantime.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as handle:
            if handle.connect_ex(('127.0.0.1', port)) != 0:
                return port


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Start every test from the same random state."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
