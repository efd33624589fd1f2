# Copyright (c) mmfdta authors.
"""Adapts the weights of supported code bases to the model of a config."""

from collections.abc import Iterator
from typing import Any

from mmdet.registry import DATASETS
from mmengine.config import Config
from torch import nn

from mmfdta.checkpoints import adapt_weights

LOADERS = ('test_dataloader', 'val_dataloader', 'train_dataloader')


def described_data(config: Config) -> Iterator[tuple[dict, dict]]:
    """Yield the data sets of a config for which the classes are known.

    Yields:
        Settings of the data set, and its meta information with ``classes``.
    """
    for loader in LOADERS:
        dataset = (config.get(loader) or {}).get('dataset') or {}
        kind = DATASETS.get(dataset['type']) if dataset.get('type') else None
        for meta in (dataset.get('metainfo') or {}, getattr(kind, 'METAINFO', {})):
            if meta.get('classes'):
                yield dataset, meta
                break


def adapt_to_config(
    content: Any, model: nn.Module, config: Config, complete: bool = True
) -> tuple[Any, str]:
    """Adapt the content of a checkpoint to the model of a config.

    Args:
        content: Content of the file.
        model: The model of the config.
        config: The config, whose data sets name the classes.
        complete: See `adapt_weights`.

    Returns:
        See `adapt_weights`.

    Raises:
        CheckpointError: See `adapt_weights`.
        CheckpointMismatchError: See `adapt_weights`.
    """
    _, meta = next(described_data(config), ({}, {}))
    classes = meta.get('classes') or ()
    classes = (classes,) if isinstance(classes, str) else tuple(classes)
    return adapt_weights(content, model, classes, complete)
