# Copyright (c) mmfdta authors.
"""Runs FDTA's detector over a data set, outside of a runner."""

import argparse
from collections.abc import Sequence

import torch
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from mmfdta.datasets import ClipIndex, MOTSequenceDataset
from mmfdta.models import FDTA
from mmfdta.models.detectors import DetectorOutputs

from ..config import add_cfg_options, read_config
from ..model_loading import load_tracker


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a model and its data."""
    parser.add_argument('config', help='path of a config, or its name in mmfdta')
    parser.add_argument('--checkpoint', help='checkpoint with the weights')
    parser.add_argument(
        '--data',
        choices=['val', 'test'],
        default='val',
        help='whose data loader of the config says what to read (default: val)',
    )
    parser.add_argument('--device', help='such as cuda:1 or cpu; a GPU if there is one')
    add_cfg_options(
        parser, 'settings to change, such as val_dataloader.dataset.split=train'
    )
    parser.add_argument(
        '--allow-random-weights',
        action='store_true',
        help='take the model as initialised, without a checkpoint',
    )


def open_model(options: argparse.Namespace) -> tuple[FDTA, MOTSequenceDataset, Config]:
    """Load what `add_model_arguments` names.

    Args:
        options (argparse.Namespace): The parsed arguments.

    Returns:
        tuple[FDTA, MOTSequenceDataset, Config]: Model, data and config.

    Raises:
        ValueError: If the model is not FDTA, or the data set has no sequences.
    """
    config = read_config(options.config, options.cfg_options)
    dataset_cfg = (config.get(f'{options.data}_dataloader') or {}).get('dataset')
    if dataset_cfg is None:
        raise ValueError(
            f'{options.config} has no {options.data}_dataloader.dataset; choose '
            'another with --data'
        )
    model = load_tracker(
        config, options.checkpoint, options.device, options.allow_random_weights
    )
    if not isinstance(model, FDTA):
        raise ValueError(
            f'model.type: found {type(model).__name__}, expected FDTA (or MOTIP, which '
            'is FDTA without adapters): only its embeddings can be looked at'
        )
    dataset = DATASETS.build(dataset_cfg)
    if not isinstance(dataset, MOTSequenceDataset):
        raise ValueError(
            f'{options.data}_dataloader.dataset.type: found {type(dataset).__name__}, '
            'expected MOTSequenceDataset or one of its kinds'
        )
    return model, dataset, config


@torch.no_grad()
def detect_clip(
    model: FDTA, dataset: MOTSequenceDataset, sequence: int, frames: Sequence[int]
) -> tuple[DetectorOutputs, list[DetDataSample]]:
    """Detect in some frames of a sequence.

    Args:
        model (FDTA): In evaluation mode.
        dataset (MOTSequenceDataset): The data.
        sequence (int): Index of the sequence.
        frames (Sequence[int]): Frames, from 0.

    Returns:
        tuple[DetectorOutputs, list[DetDataSample]]: Outputs for the T frames, and
        the frames with their ground truth.
    """
    sample = dataset[ClipIndex(sequence, tuple(frames))]
    batch = model.data_preprocessor(pseudo_collate([sample]), False)
    (clip,) = batch['data_samples']
    frames = list(clip)
    return model.detector.detect(batch['inputs']['img'].flatten(0, 1), frames), frames
