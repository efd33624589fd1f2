# Copyright (c) mmfdta authors.
"""MOTR of the released config with formula weights under the released names."""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor
from weights import golden_weights

import mmfdta.registry  # noqa: F401
from mmfdta.checkpoints import convert_state_dict
from mmfdta.models import MOTR

DATA = Path(__file__).parent / 'motr'
CONFIG = Path(__file__).parents[2] / 'configs/_base_/models/motr_r50.py'
# What ends the residual branches of the query interaction module.
BRANCH_ENDS = ('out_proj', 'linear2', 'linear_pos2', 'linear_feat2')


@lru_cache(maxsize=1)
def released_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of a released state dict, in the released order."""
    keys = json.loads((DATA / 'official_keys.json').read_text())
    return {name: tuple(shape) for name, shape in keys}


@lru_cache(maxsize=1)
def released_state_dict(
    seed: int = 0, class_bias: float = -18.0, track_gain: float = 0.1
) -> dict[str, Tensor]:
    """A released state dict filled by the weight formula.

    Args:
        seed: Number of the weight set.
        class_bias: Bias of every class head.
        track_gain: Factor of what the query interaction module adds to a query.
    """
    weights, state_dict = golden_weights(), {}
    for name, shape in released_shapes().items():
        canonical = weights.canonical_name(name)
        of_tracks = canonical.startswith('track_embed.')
        array = weights.fill(
            canonical if of_tracks else f'detr.{canonical}', shape, seed
        )
        if of_tracks and canonical.endswith(tuple(f'{e}.weight' for e in BRANCH_ENDS)):
            array = np.float32(track_gain) * array
        if canonical.startswith('class_embed.') and canonical.endswith('.bias'):
            array = np.full(shape, class_bias, np.float32)
        state_dict[name] = torch.from_numpy(array)
    return state_dict


def build_motr(settings: dict) -> MOTR:
    """The released model, strictly loaded with the weights of a golden file.

    Args:
        settings: Parsed ``meta`` of the file.
    """
    init_default_scope('mmdet')
    model = MODELS.build(Config.fromfile(CONFIG).model)
    released = released_state_dict(
        settings['weight_seed'], settings['class_bias'], settings['track_gain']
    )
    model.load_state_dict(convert_state_dict(released).state_dict, strict=True)
    return model
