# Copyright (c) mmfdta authors.
"""Track and score with a checkpoint: `python -m mmfdta test CONFIG CHECKPOINT`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmfdta.apis.config import add_common_arguments, join_processes, load_config
from mmfdta.apis.config_check import check_config
from mmfdta.checkpoints import CheckpointError, read_content
from mmfdta.utils.safe_loading import require_safe_loading

# Keys of each kind that an error lists before it only counts them.
MAX_LISTED = 5


class CheckpointMismatchError(RuntimeError):
    """A checkpoint does not hold exactly the weights of the model."""


class ExactWeightsHook(Hook):
    """Refuse a checkpoint that leaves a weight of the model as it was initialised.

    Args:
        modules: See `keep_modules`.
    """

    def __init__(self, modules: Sequence[str] | None = None) -> None:
        self.modules = modules

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the names and shapes in the checkpoint with those of the model.

        Raises:
            CheckpointMismatchError: If they differ.
        """
        weights = matching_weights(runner.model, checkpoint, self.modules)
        if self.modules:
            checkpoint['state_dict'] = weights


def matching_weights(
    model: nn.Module, checkpoint: object, modules: Sequence[str] | None = None
) -> dict[str, torch.Tensor]:
    """Take exactly a model's weights out of a checkpoint.

    Args:
        model: The model; one that a wrapper for several processes holds counts as
            unwrapped.
        checkpoint: What a checkpoint file holds.
        modules: See `keep_modules`.

    Raises:
        CheckpointMismatchError: If names or shapes differ.
    """
    model = model.module if is_model_wrapper(model) else model
    weights = weights_in(checkpoint)
    if modules:
        weights = keep_modules(weights, modules)
    problems = compare_weights(shapes_of(weights), shapes_of(model.state_dict()))
    if problems:
        raise CheckpointMismatchError('; '.join(problems))
    return weights


def weights_in(checkpoint: object) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint by name.

    Args:
        checkpoint: What a checkpoint file holds: names and tensors, at the top
            or under ``state_dict``.

    Raises:
        CheckpointMismatchError: If it is anything else.
    """
    weights = checkpoint
    if isinstance(checkpoint, dict):
        weights = checkpoint.get('state_dict', checkpoint)
    if not isinstance(weights, dict) or not all(
        isinstance(value, torch.Tensor) for value in weights.values()
    ):
        raise CheckpointMismatchError(
            'it holds no weights by name, neither at the top nor under "state_dict"'
        )
    return {name.removeprefix('module.'): value for name, value in weights.items()}


def keep_modules(
    weights: dict[str, torch.Tensor], modules: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Take the weights of some modules out of a checkpoint of a larger model.

    Args:
        weights: All weights by name.
        modules: Names of the modules, the config's `checkpoint_modules`: a tracker
            on FDTA's detections takes the detector out of FDTA's checkpoint.
    """
    prefixes = tuple(f'{module}.' for module in modules)
    return {name: w for name, w in weights.items() if name.startswith(prefixes)}


def shapes_of(weights: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight."""
    return {name: tuple(value.shape) for name, value in weights.items()}


def compare_weights(
    found: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]
) -> list[str]:
    """Describe how the weights of a checkpoint differ from those of a model.

    Args:
        found: Shape of each weight in the checkpoint.
        expected: Shape of each weight of the model.

    Returns:
        A line for each kind of difference; none if they agree.
    """
    differing = [
        f'{name} {found[name]} instead of {shape}'
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    kinds = {
        'missing': [name for name in expected if name not in found],
        'unknown': [name for name in found if name not in expected],
        'of another shape': differing,
    }
    return [
        f'{len(names)} {kind}: {", ".join(names[:MAX_LISTED])}'
        + (', ...' if len(names) > MAX_LISTED else '')
        for kind, names in kinds.items()
        if names
    ]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser('python -m mmfdta test', description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', nargs='?', help='checkpoint with the weights')
    parser.add_argument(
        '--checkpoint', dest='checkpoint_option', help='the same, as an option'
    )
    parser.add_argument(
        '--out',
        help='folder for the tracks as MOTChallenge text; <work dir>/tracks by default',
    )
    parser.add_argument(
        '--allow-random-weights',
        action='store_true',
        help='test the model as initialised, without a checkpoint',
    )
    return parser


def choose_checkpoint(options: argparse.Namespace) -> str | None:
    """Return the checkpoint to load, or None for the initial weights.

    Raises:
        ValueError: If none or two are named.
        FileNotFoundError: If the named one is not there.
    """
    named = {options.checkpoint, options.checkpoint_option} - {None}
    if len(named) > 1:
        raise ValueError(f'two checkpoints are named: {", ".join(sorted(named))}')
    if not named:
        if options.allow_random_weights:
            return None
        raise ValueError(
            'no checkpoint is named; name one, or add --allow-random-weights to test '
            'the model as initialised'
        )
    checkpoint = named.pop()
    if '://' not in checkpoint and not Path(checkpoint).is_file():
        raise FileNotFoundError(f'there is no checkpoint {checkpoint}')
    return checkpoint


def write_tracks_to(config: Config, folder: str | None) -> None:
    """Make the metrics of the config write their tracks.

    Args:
        config: Config of the test.
        folder: Where to; None leaves a metric's own ``out_dir`` and takes
            ``<work_dir>/tracks`` for one that has none.

    Raises:
        ValueError: If a folder is asked for and no metric writes tracks.
    """
    evaluators = config.test_evaluator
    if isinstance(evaluators, dict):
        evaluators = [evaluators]
    writing = [evaluator for evaluator in evaluators if evaluator.type == 'MOTMetric']
    if folder and not writing:
        raise ValueError('--out needs a MOTMetric in the test_evaluator of the config')
    for evaluator in writing:
        default = evaluator.get('out_dir') or str(Path(config.work_dir) / 'tracks')
        evaluator.out_dir = folder or default


def main(arguments: list[str]) -> None:
    """Test as the arguments say.

    Raises:
        SystemExit: If the arguments, the config or the checkpoint are wrong.
    """
    options = build_parser().parse_args(arguments)
    require_safe_loading()
    try:
        config = load_config(options)
        check_config(config)
        checkpoint, content = choose_checkpoint(options), None
        if checkpoint is not None and '://' not in checkpoint:
            content = read_content(checkpoint)
        write_tracks_to(config, options.out)
    except (CheckpointError, FileNotFoundError, ValueError) as error:
        sys.exit(f'mmfdta test: {error}')
    config.resume = False
    config.load_from = checkpoint
    join_processes(config)
    runner = Runner.from_cfg(config)
    modules = config.get('checkpoint_modules')
    runner.register_hook(ExactWeightsHook(modules))
    if checkpoint is None:
        runner.logger.warning('Testing random weights: the scores mean nothing.')
    try:
        if content is not None:
            # MMEngine reads the data first.
            matching_weights(runner.model, content, modules)
            del content
        runner.test()
    except CheckpointMismatchError as error:
        sys.exit(
            f'mmfdta test: {checkpoint} does not fit the model of {options.config}: '
            f'{error}. Convert a foreign checkpoint with tools/convert_checkpoint.py.'
        )
    except UnpicklingError as error:
        sys.exit(
            f'mmfdta test: {checkpoint} is not loaded, because it holds more than '
            f'weights and training state ({error}). Convert it with '
            'tools/convert_checkpoint.py.'
        )
