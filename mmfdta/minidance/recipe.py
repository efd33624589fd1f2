# Copyright (c) mmfdta authors.
"""The weights of the small FDTA in the package, and the recipe that they follow.

`make minidance-weights` makes both.
"""

import json
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmfdta.apis.fingerprints import file_digest
from mmfdta.apis.machine import describe_machine
from mmfdta.checkpoints import read_state_dict, write_checkpoint
from mmfdta.structures.whole_files import write_text

FOLDER = Path(__file__).parent / 'weights'
WEIGHTS, RECIPE = 'fdta_mini.pth', 'fdta_mini.json'
"""State dict of `fdta_mini` in half precision; its SHA-256, trainings and scores."""

_DECISIVE = (
    *('model', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'custom_hooks'),
    *('randomness', 'precision'),
)
# Statistics and counts of normalisations.
_BUFFERS = ('running_mean', 'running_var', 'num_batches_tracked')


def describe_training(config: Config) -> dict[str, Any]:
    """Take from a config what decides the weights that its training gives.

    Args:
        config: Config of a training on MiniDance.

    Returns:
        As JSON has it; the folder of the data decides nothing.
    """
    kept = {key: config[key] for key in _DECISIVE if key in config}
    loader = config.train_dataloader.to_dict()
    loader['dataset'].pop('data_root')
    return json.loads(json.dumps(kept | dict(train_dataloader=loader)))


def halve(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Round trained weights to half precision.

    Args:
        weights: A state dict in single precision.

    Returns:
        By the same names; statistics and counts of normalisations are kept as they are.
    """
    return {
        name: value.clone() if name.endswith(_BUFFERS) else value.half()
        for name, value in weights.items()
    }


def write_recipe(folder: Path, trainings: dict[str, Config], scores: dict) -> dict:
    """Write the recipe of weights that are there.

    Args:
        folder: Has the weights, and gets the recipe.
        trainings: Name -> config of what was trained, in order.
        scores: Of the weights.

    Returns:
        The recipe.
    """
    path = folder / WEIGHTS
    machine = describe_machine('cpu', torch.get_num_threads())
    recipe = dict(
        file=WEIGHTS,
        bytes=path.stat().st_size,
        sha256=file_digest(path),
        parameters=sum(value.numel() for value in read_state_dict(path).values()),
        licence='Apache-2.0; trained on drawn images only',
        made_by='make minidance-weights',
        machine=machine,
        scores=scores,
        trainings={name: describe_training(c) for name, c in trainings.items()},
    )
    write_text(folder / RECIPE, json.dumps(recipe, indent=1) + '\n')
    return recipe


def read_recipe(folder: Path = FOLDER) -> dict[str, Any]:
    """Read the recipe of the weights in a folder."""
    return json.loads((folder / RECIPE).read_text(encoding='utf-8'))


def write_halved(trained: Path, folder: Path) -> Path:
    """Write trained weights in half precision.

    Args:
        trained: Checkpoint in single precision.
        folder: Where to.

    Returns:
        The file: a state dict and nothing else.
    """
    path = folder / WEIGHTS
    write_checkpoint(dict(state_dict=halve(read_state_dict(trained))), path)
    return path
