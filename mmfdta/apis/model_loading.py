# Copyright (c) mmfdta authors.
"""Builds a tracker from a config and loads its weights safely."""

import os
from collections.abc import Sequence

import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from torch import nn

from mmfdta.checkpoints import (
    CheckpointMismatchError,
    matching_weights,
    read_content,
)
from mmfdta.ops import accelerate


def load_tracker(
    config: Config,
    checkpoint: str | os.PathLike | None,
    device: str | torch.device | None = None,
    allow_random_weights: bool = False,
) -> nn.Module:
    """Build a config's model with the weights of a checkpoint.

    Args:
        config: The config.
        checkpoint: Path or address of the weights.
            Only tensors and plain data are loaded from it; code in it is
            refused.
        device: Where it runs; None takes the first
            GPU if there is one.
        allow_random_weights: Without a checkpoint: initialise the model
            instead of refusing.

    Returns:
        In evaluation mode, with ``dataset_meta``.

    Raises:
        ValueError: If no checkpoint is named.
        FileNotFoundError: If there is no such file.
        CheckpointError: If it cannot be read, or not without running code.
        CheckpointMismatchError: If it is another model's.
    """
    init_default_scope(config.get('default_scope') or 'mmdet')
    if checkpoint is None and not allow_random_weights:
        raise ValueError(
            'no checkpoint is named, and an untrained model tracks nothing. Name '
            'one, or allow random weights explicitly (allow_random_weights=True, '
            '--allow-random-weights)'
        )
    model = MODELS.build(_without_pretrained(config.model))
    meta = {}
    if checkpoint is None:
        model.init_weights()
        print_log('The weights are random: the tracks mean nothing.', 'current', 30)
    else:
        modules = config.get('checkpoint_modules')
        meta = _load_weights(model, str(checkpoint), modules)
    model.dataset_meta = _dataset_meta(config, meta)
    if device is None:
        device = 'cuda:0' if torch.cuda.is_available() else 'cpu'
    return accelerate(revert_sync_batchnorm(model).to(device).eval())


def _load_weights(
    model: nn.Module, checkpoint: str, modules: Sequence[str] | None = None
) -> dict:
    """Load exactly the model's weights; return what else is known of them."""
    content = read_content(checkpoint)
    try:
        model.load_state_dict(matching_weights(model, content, modules))
    except CheckpointMismatchError as error:
        raise CheckpointMismatchError(
            f'{checkpoint} does not fit the model of the config: {error}. Convert a '
            'foreign checkpoint with mmfdta convert'
        ) from None
    meta = content.get('meta') if isinstance(content, dict) else None
    return meta or {}


def _without_pretrained(model: ConfigDict) -> ConfigDict:
    """Copy a model's config without weights to download: others replace them."""
    if isinstance(model, dict):
        return type(model)(
            {
                key: _without_pretrained(value)
                for key, value in model.items()
                if key != 'init_cfg' or not _is_pretrained(value)
            }
        )
    if isinstance(model, list | tuple):
        return type(model)(_without_pretrained(value) for value in model)
    return model


def _is_pretrained(init_cfg: dict | list | None) -> bool:
    parts = init_cfg if isinstance(init_cfg, list) else [init_cfg]
    return any(part and part.get('type') == 'Pretrained' for part in parts)


def _dataset_meta(config: Config, meta: dict) -> dict:
    """Find the names of the classes: the checkpoint knows best."""
    known = {k.lower(): v for k, v in (meta.get('dataset_meta') or {}).items()}
    if known.get('classes'):
        return known
    for loader in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        dataset = (config.get(loader) or {}).get('dataset') or {}
        if (dataset.get('metainfo') or {}).get('classes'):
            return dict(dataset['metainfo'])
        kind = DATASETS.get(dataset['type']) if dataset.get('type') else None
        declared = getattr(kind, 'METAINFO', {})
        if declared.get('classes'):
            return dict(declared)
    return {}
