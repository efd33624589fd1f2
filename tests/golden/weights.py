# Copyright (c) mmfdta authors.
"""State dicts with formula weights under the released names.

The golden files were computed with weights that a formula gives for every
name of the released state dict (``data/golden_weights.py``); no checkpoint is
stored. `formula_state_dict` builds the same state dict for any of the three
released configurations, aliases included, so that a test can send it through
the converter as if it were a released checkpoint.
"""

import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from mmfdta.utils.depth import lid_bin_values

DATA = Path(__file__).parent / 'data'
DEPTH_RANGE = (1e-3, 256.0)


@lru_cache(maxsize=1)
def golden_weights() -> ModuleType:
    """The module ``data/golden_weights.py``."""
    spec = importlib.util.spec_from_file_location(
        'golden_weights', DATA / 'golden_weights.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@lru_cache(maxsize=1)
def _official() -> dict:
    return json.loads((DATA / 'official_keys.json').read_text())


def official_shapes(cfg: str, criterion: bool = False) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a released state dict, in the released order.

    Args:
        cfg: ``dancetrack``, ``sportsmot`` or ``bft``.
        criterion: Also the identity adapter's MLP as
            ``criterion.track_embed.*``, which no released checkpoint holds.
    """
    keys = _official()
    if cfg != 'dancetrack' and f'{cfg}_differs' not in keys:
        raise ValueError(f'cfg is {cfg!r}, expected dancetrack, sportsmot or bft')
    shapes = {name: tuple(shape) for name, shape, _ in keys['dancetrack']}
    for name, shape, _ in keys.get(f'{cfg}_differs', ()):
        shapes[name] = tuple(shape)
    if criterion:
        for name, shape, _ in keys['criterion_not_in_checkpoint']:
            shapes[f'criterion.{name}'] = tuple(shape)
    return shapes


def formula_state_dict(
    cfg: str, seed: int, criterion: bool = False, prefix: str | tuple[str, ...] = ''
) -> dict[str, Tensor]:
    """A released state dict filled by the weight formula.

    Args:
        cfg: ``dancetrack``, ``sportsmot`` or ``bft``; they differ in shapes.
        seed: Number of the weight set.
        criterion: Add ``criterion.track_embed.*``.
        prefix: Only names that start with (one of) these, to save time.

    Returns:
        float32 tensors in the released order. Names that alias one parameter
        share their tensor, as they do in a released checkpoint.
    """
    weights = golden_weights()
    filled: dict[str, Tensor] = {}
    state_dict: dict[str, Tensor] = {}
    for name, shape in official_shapes(cfg, criterion).items():
        if not name.startswith(prefix):
            continue
        canonical = weights.canonical_name(name)
        if canonical not in filled:
            array = weights.fill(canonical, shape, seed)
            filled[canonical] = (
                lid_bin_values(shape[0] - 1, *DEPTH_RANGE)
                if array is None
                else torch.from_numpy(array)
            )
        state_dict[name] = filled[canonical]
    return state_dict
