# Copyright (c) mmfdta authors.
"""Builds a tracker from a config and loads its weights safely."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmfdta.checkpoints import (
    CheckpointError,
    CheckpointMismatchError,
    clean_state_dict,
    matching_weights,
    read_content,
)
from mmfdta.engine import (
    adapt_to_config,
    described_data,
    find_precision,
    hold_half_weights,
    keep_precision,
)
from mmfdta.ops import accelerate, compile_detector
from mmfdta.structures.classes import numbers_of_labels

from .weights import find_checkpoint


def load_tracker(
    config: Config,
    checkpoint: str | os.PathLike | None,
    device: str | torch.device | None = None,
    allow_random_weights: bool = False,
) -> nn.Module:
    """Build a config's model as it tracks fastest, see :func:`build_tracker`.

    Args:
        config: The config; ``compile_detector`` says whether the detector's networks
            are compiled.
        checkpoint: What `find_checkpoint` takes; None takes the config's.
        device: Where it runs; None takes the first GPU if there is one.
        allow_random_weights: See :func:`build_tracker`.

    Returns:
        With the faster ways of :func:`accelerate`.

    Raises:
        ValueError: If the detector cannot be compiled.
    """
    model = accelerate(build_tracker(config, checkpoint, device, allow_random_weights))
    return compile_detector(model) if config.get('compile_detector') else model


def build_tracker(
    config: Config,
    checkpoint: str | os.PathLike | None,
    device: str | torch.device | None = None,
    allow_random_weights: bool = False,
) -> nn.Module:
    """Build a config's model with the weights of a checkpoint.

    Args:
        config: The config; ``precision`` says what the model's forward pass computes
            in, other files that are read: see :func:`part_checkpoints`.
        checkpoint: What `find_checkpoint` takes; None takes the config's. Only tensors
            and plain data are loaded from it; code in it is refused.
        device: Where it runs; None takes the first GPU if there is one.
        allow_random_weights: Without a checkpoint: initialise the model instead of
            taking the config's or refusing.

    Returns:
        In evaluation mode, with ``dataset_meta`` and ``precision``; in half precision
        with half weights, see `hold_half_weights`.

    Raises:
        ValueError: If no checkpoint is named, or the device lacks the precision.
        FileNotFoundError: If there is no such file.
        DownloadError: If it cannot be fetched.
        CheckpointError: If it cannot be read, or not without running code.
        CheckpointMismatchError: If it is another model's.
    """
    init_default_scope(config.get('default_scope') or 'mmdet')
    if checkpoint is None and not allow_random_weights:
        checkpoint = config.get('checkpoint')
    if checkpoint is None and not allow_random_weights:
        raise ValueError(
            'no checkpoint is named, and an untrained model tracks nothing. Name '
            'one, or allow random weights explicitly (allow_random_weights=True, '
            '--allow-random-weights)'
        )
    if device is None:
        device = 'cuda:0' if torch.cuda.is_available() else 'cpu'
    precision = find_precision(config.get('precision'))
    remark = precision.check(device)
    if remark is not None:
        print_log(remark, 'current', 30)
    model = MODELS.build(without_pretrained(config.model))
    content: Any = {}
    if checkpoint is None:
        model.init_weights()
        if next(model.parameters(), None) is not None:
            print_log('The weights are random: the tracks mean nothing.', 'current', 30)
    else:
        content = read_content(find_checkpoint(checkpoint))
        modules, parts = config.get('checkpoint_modules'), read_parts(config, model)
        try:
            content, remark = adapt_to_config(content, model, config)
            model.load_state_dict(matching_weights(model, content, modules, parts))
        except CheckpointMismatchError as error:
            raise CheckpointMismatchError(
                f'{checkpoint} does not fit the model of the config: {error}'
            ) from None
        except CheckpointError as error:
            raise CheckpointError(f'{checkpoint}: {error}') from None
        if remark:
            print_log(f'{checkpoint}: {remark}', 'current')
    model.dataset_meta = _dataset_meta(config, content.get('meta') or {})
    keep_precision(model, precision)
    hold_half_weights(model, precision)
    return revert_sync_batchnorm(model).to(device).eval()


def part_checkpoints(config: Config) -> dict[str, str]:
    """Name the files of the parts of a model that have one of their own.

    Args:
        config: ``part_checkpoints`` is part of the model -> what `find_checkpoint`
            takes; ``detector_checkpoint`` says the same of the part ``detector``. A
            name with dots may be nested, as settings of the command line make it,
            which count before those that are not.

    Returns:
        The same by the part's name in the model.
    """

    def flatten(parts: Mapping, prefix: str = '') -> Iterator[tuple[str, str]]:
        for name, place in parts.items():
            if isinstance(place, Mapping):
                yield from flatten(place, f'{prefix}{name}.')
            else:
                yield f'{prefix}{name}', place

    detector = config.get('detector_checkpoint')
    parts = {} if detector is None else {'detector': detector}
    return parts | dict(flatten(config.get('part_checkpoints') or {}))


def read_parts(config: Config, model: nn.Module) -> dict[str, Tensor]:
    """Read the weights of the parts that have a file of their own.

    They complete those of the model's checkpoint: association that was trained on boxes
    alone has no detector in it, and a detector's file no network for re-identification.

    Args:
        config: See :func:`part_checkpoints`. The file of a detector may be that of a
            tracker on it, and have any names that are known.
        model: Its model; one in a wrapper for several processes counts as unwrapped.

    Returns:
        By their names in the model; those that only training needs are left out.

    Raises:
        ValueError: If the model has no such part.
        FileNotFoundError: If there is no such file.
        DownloadError: If it cannot be fetched.
        CheckpointError: If it cannot be read.
        CheckpointMismatchError: If it is another network's.
    """
    model = getattr(model, 'module', model)
    found: dict[str, Tensor] = {}
    for name, place in part_checkpoints(config).items():
        try:
            part = model.get_submodule(name)
        except AttributeError:
            names = ', '.join(child for child, _ in model.named_children())
            raise ValueError(
                f'part_checkpoints: found {name}, which the model does not have; it '
                f'has {names}'
            ) from None
        content = read_content(find_checkpoint(place))
        try:
            if name == 'detector':
                holder = nn.ModuleDict({name: part})
                content, _ = adapt_to_config(content, holder, config)
                found |= matching_weights(holder, content, [name])
                continue
            left_out = tuple(getattr(part, 'training_only', ()))
            weights = clean_state_dict(content)
            kept = {n: w for n, w in weights.items() if not n.startswith(left_out)}
            matched = matching_weights(part, kept)
        except CheckpointMismatchError as error:
            raise CheckpointMismatchError(
                f'{place} does not fit model.{name}: {error}'
            ) from None
        except CheckpointError as error:
            raise CheckpointError(f'{place}: {error}') from None
        found |= {f'{name}.{key}': weight for key, weight in matched.items()}
    return found


def without_pretrained(model: Any) -> Any:
    """Copy a model's config without weights to download: others replace them."""
    if isinstance(model, list | tuple):
        return type(model)(without_pretrained(value) for value in model)
    if not isinstance(model, dict):
        return model
    kept = {key: without_pretrained(value) for key, value in model.items()}
    init_cfg = kept.get('init_cfg')
    parts = init_cfg if isinstance(init_cfg, list) else [init_cfg]
    if any(part and part.get('type') == 'Pretrained' for part in parts):
        del kept['init_cfg']
    return type(model)(kept)


def _dataset_meta(config: Config, meta: dict) -> dict:
    """Find names and numbers of the classes: the checkpoint knows best."""
    known = {k.lower(): v for k, v in (meta.get('dataset_meta') or {}).items()}
    for dataset, declared in described_data(config):
        classes = declared['classes']
        if list(known.get('classes') or classes) != list(classes):
            continue
        known = {**declared, **known}
        if dataset.get('category_map'):
            numbers = numbers_of_labels(dataset['category_map'], len(classes))
            known.setdefault('class_numbers', numbers)
        break
    return known
