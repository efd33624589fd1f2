# Copyright (c) mmfdta authors.
"""Compares the weights in a checkpoint with those of a model.

A model runs only with weights that fill it exactly; a training may start from some of
them.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from mmengine.model import is_model_wrapper
from torch import nn

from .files import CheckpointError, clean_state_dict

# Names of each kind that an error lists before it only counts them.
MAX_LISTED = 5


class CheckpointMismatchError(CheckpointError):
    """A checkpoint does not have exactly the weights of the model."""


def matching_weights(
    model: nn.Module,
    checkpoint: object,
    modules: Sequence[str] | None = None,
    parts: Mapping[str, torch.Tensor] = MappingProxyType({}),
) -> dict[str, torch.Tensor]:
    """Return the weights of a model from a checkpoint that must have exactly these.

    Args:
        model: The model; a wrapper for several processes is removed.
        checkpoint: Content of a checkpoint file.
        modules: See `keep_modules`; None keeps all weights.
        parts: Weights from other files, which are added to those of the checkpoint. If
            both have a name, the checkpoint's weight is used.

    Raises:
        CheckpointMismatchError: If names or shapes differ, or there are no weights.
        CheckpointError: If a weight is NaN or infinite.
    """
    model = model.module if is_model_wrapper(model) else model
    try:
        weights = clean_state_dict(checkpoint)
    except CheckpointError as error:
        raise CheckpointMismatchError(f'it has no weights by name: {error}') from None
    if modules:
        weights = keep_modules(weights, modules)
    weights = {**parts, **weights}
    found, expected = shapes_of(weights), shapes_of(model.state_dict())
    other = [name for name in found if expected.get(name, found[name]) != found[name]]
    if 2 * len(other) > len(found):
        raise CheckpointMismatchError(
            f'it is a model of another size: {len(other)} of its {len(found)} weights '
            f'have another shape, first {other[0]} {found[other[0]]} instead of '
            f'{expected[other[0]]}; use the config of its size'
        )
    problems = compare_weights(found, expected)
    if problems:
        raise CheckpointMismatchError('; '.join(problems))
    broken = [name for name, value in weights.items() if not value.isfinite().all()]
    if broken:
        raise CheckpointError(
            f'{len(broken)} of {len(weights)} weights have values that are not finite, '
            f'{broken[0]} first; did the training diverge? Use an earlier checkpoint'
        )
    return weights


def keep_modules(
    weights: dict[str, torch.Tensor], modules: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Return the weights of some modules from the checkpoint of a larger model.

    Args:
        weights: All weights by name.
        modules: Names of the modules, the config's `checkpoint_modules`. For example, a
            tracker on FDTA's detections loads only the detector of FDTA's checkpoint.
    """
    prefixes = tuple(f'{module}.' for module in modules)
    return {name: w for name, w in weights.items() if name.startswith(prefixes)}


def shapes_of(weights: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight."""
    return {name: tuple(value.shape) for name, value in weights.items()}


def compare_weights(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """Describe how names and shapes differ from a model's, one line per kind."""
    kinds = {
        'missing': [name for name in expected if name not in found],
        'unknown': [name for name in found if name not in expected],
        'of another shape': [
            f'{name} {found[name]} instead of {shape}'
            for name, shape in expected.items()
            if name in found and found[name] != shape
        ],
    }
    return [
        f'{len(names)} {kind}: {", ".join(names[:MAX_LISTED])}'
        + (', ...' if len(names) > MAX_LISTED else '')
        for kind, names in kinds.items()
        if names
    ]
