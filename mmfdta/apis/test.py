# Copyright (c) mmfdta authors.
"""Track and score with a checkpoint: `python -m mmfdta test CONFIG CHECKPOINT`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmfdta.apis.config import add_common_arguments, join_processes, load_config
from mmfdta.apis.config_check import check_config
from mmfdta.checkpoints import CheckpointMismatchError, matching_weights, read_content
from mmfdta.ops import accelerate
from mmfdta.utils.safe_loading import require_safe_loading


class ExactWeightsHook(Hook):
    """Refuse a checkpoint that leaves a weight of the model as it was initialised.

    Args:
        modules: The config's `checkpoint_modules`, which alone are taken out of the
            checkpoint; None takes all of it.
    """

    def __init__(self, modules: Sequence[str] | None = None) -> None:
        self.modules = modules

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the names and shapes in the checkpoint with those of the model.

        Raises:
            CheckpointMismatchError: If they differ.
        """
        weights = matching_weights(runner.model, checkpoint, self.modules)
        checkpoint['state_dict'] = weights


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
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f'mmfdta test: {error}')
    config.resume = False
    config.load_from = checkpoint
    join_processes(config)
    runner = Runner.from_cfg(config)
    accelerate(runner.model)
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
