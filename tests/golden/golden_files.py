# Copyright (c) mmfdta authors.
"""Read golden files and compare with them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / 'data'


@dataclass
class Golden:
    """One golden file."""

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    settings: dict

    @property
    def seed(self) -> int:
        """Seed of the weights."""
        return self.settings.get('seed', 0)


def load_golden(name: str) -> Golden:
    """Read ``data/<name>.npz``; arrays lose their ``in_`` and ``out_``."""
    with np.load(DATA / f'{name}.npz') as file:
        parts = {'in': {}, 'out': {}}
        for key in file.files:
            kind, _, rest = key.partition('_')
            if kind in parts:
                parts[kind][rest] = file[key]
        settings = json.loads(str(file['meta']))
    return Golden(parts['in'], parts['out'], settings)


def assert_close(
    name: str, found: np.ndarray, expected: np.ndarray, rtol: float = 0, atol: float = 0
) -> None:
    """Compare shapes and values; NaN equals NaN. Tolerances of 0 mean equal."""
    assert found.shape == expected.shape, name
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=name)


def assert_close_to_scale(
    name: str, found: np.ndarray, expected: np.ndarray, rtol: float
) -> None:
    """Compare with a tolerance relative to the largest expected magnitude."""
    scale = float(np.abs(expected).max()) if expected.size else 0.0
    assert_close(name, found, expected, atol=rtol * scale)
