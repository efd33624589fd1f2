# Copyright (c) mmfdta authors.
"""The arguments of verbs that look at one model on one data set."""

import argparse
from typing import TYPE_CHECKING

from .arguments import (
    add_cfg_options,
    add_checkpoint,
    add_precision,
    named_checkpoint,
)

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

    from mmfdta.apis.evaluation_data import EvaluationData


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a model, its weights and its data."""
    parser.add_argument('config', help='path of a config, or its name in mmfdta')
    add_checkpoint(parser)
    parser.add_argument(
        '--data',
        choices=['val', 'test'],
        default='val',
        help='whose data loader of the config says what to read (default: val)',
    )
    parser.add_argument('--device', help='such as cuda:1 or cpu; a GPU if there is one')
    add_precision(parser, 'compute in it')
    add_cfg_options(
        parser, 'settings to change, such as val_dataloader.dataset.split=train'
    )
    parser.add_argument(
        '--allow-random-weights',
        action='store_true',
        help='take the model as initialised, without a checkpoint',
    )


def open_model(
    options: argparse.Namespace, data_from: str | None = None
) -> 'tuple[nn.Module, EvaluationData, Config]':
    """Load what :func:`add_model_arguments` names.

    Args:
        options: The parsed arguments; ``checkpoint`` is what is named then.
        data_from: Config whose data, and for a detector whose preprocessing, are
            taken; None takes the model's own.

    Returns:
        Model, data and the model's config.

    Raises:
        FileNotFoundError: If a config or a checkpoint is missing.
        ValueError: If config and weights do not fit, or there is no such data set.
    """
    from mmdet.registry import MODELS

    from mmfdta.apis.config import read_config
    from mmfdta.apis.detection_store import device_of
    from mmfdta.apis.evaluation_data import EvaluationData, dataset_config
    from mmfdta.apis.model_loading import load_tracker

    config = read_config(options.config, options.cfg_options)
    if options.precision:
        config.precision = options.precision
    source = config
    if data_from is not None:
        source = read_config(data_from, options.cfg_options)
    dataset_config(source, options.data)
    options.checkpoint = named_checkpoint(options)
    model = load_tracker(
        config, options.checkpoint, options.device, options.allow_random_weights
    )
    if source is not config and not hasattr(model, 'tracker'):
        preprocessor = MODELS.build(source.model.data_preprocessor)
        model.data_preprocessor = preprocessor.to(device_of(model))
    return model, EvaluationData.open(source, options.data), config
