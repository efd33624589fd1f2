# Copyright (c) mmfdta authors.
"""Models of the released configs with formula weights."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor
from weights import formula_state_dict

import mmfdta.registry  # noqa: F401
from mmfdta.checkpoints import convert_state_dict
from mmfdta.models import FDTA

CONFIGS = Path(__file__).parents[2] / 'configs'


def load_config(cfg: str) -> Config:
    """The released config ``dancetrack``, ``sportsmot`` or ``bft``."""
    return Config.fromfile(CONFIGS / f'fdta_{cfg}.py')


@lru_cache(maxsize=3)
def converted_weights(cfg: str, seed: int) -> dict[str, Tensor]:
    """Formula weights under this project's names, the identity MLP included."""
    released = formula_state_dict(cfg, seed, criterion=True)
    return convert_state_dict(released).state_dict


def build_model(cfg: str, seed: int, dropout: bool = True) -> FDTA:
    """The model of a released config, strictly loaded with formula weights.

    Args:
        cfg (str): ``dancetrack``, ``sportsmot`` or ``bft``.
        seed (int): Seed of the weights.
        dropout (bool): False sets every dropout to 0.
    """
    init_default_scope('mmdet')
    model = MODELS.build(load_config(cfg).model)
    model.load_state_dict(converted_weights(cfg, seed), strict=True)
    if not dropout:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if isinstance(module, torch.nn.MultiheadAttention):
                module.dropout = 0.0
    return model


def tensors(inputs: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """NumPy arrays as tensors that own their memory."""
    return {
        k: torch.from_numpy(np.array(v))
        for k, v in inputs.items()
        if np.asarray(v).dtype.kind in 'fiub'
    }


def arrays(**outputs: Tensor | float) -> dict[str, np.ndarray]:
    """Tensors and numbers as NumPy arrays."""
    return {
        k: v.detach().numpy() if isinstance(v, Tensor) else np.asarray(v)
        for k, v in outputs.items()
    }
