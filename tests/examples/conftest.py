# Copyright (c) mmfdta authors.
"""Folders that the examples run on."""

from pathlib import Path

import numpy as np
import pytest
from toy_model import make_toy_model, play


@pytest.fixture(scope='module')
def toy(tmp_path_factory) -> Path:
    """Toy networks with the tracker's usual settings."""
    return make_toy_model(tmp_path_factory.mktemp('toy') / 'exported')


@pytest.fixture(scope='module')
def clip() -> list[np.ndarray]:
    """A video for them."""
    return play(np.random.default_rng(0), 40, 9)
