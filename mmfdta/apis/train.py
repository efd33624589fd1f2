# Copyright (c) mmfdta authors.
"""Train the model of a config: `python -m mmfdta train CONFIG`."""

import argparse
import sys

from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mmfdta.apis.config import add_common_arguments, join_processes, load_config
from mmfdta.apis.config_check import check_config
from mmfdta.checkpoints import (
    CheckpointError,
    CheckpointMismatchError,
    compare_weights,
    read_state_dict,
)
from mmfdta.checkpoints.comparison import shapes_of
from mmfdta.engine import NonFiniteLossError, resume_from_work_dir
from mmfdta.ops import accelerate
from mmfdta.utils.safe_loading import require_safe_loading

# Optimiser wrapper -> the same with automatic mixed precision.
AMP_WRAPPERS = dict(
    OptimWrapper='AmpOptimWrapper', GroupClipOptimWrapper='GroupClipAmpOptimWrapper'
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser('python -m mmfdta train', description=__doc__)
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from a checkpoint; without a path, from the last in the work dir',
    )
    parser.add_argument(
        '--amp', action='store_true', help='train with automatic mixed precision'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate from auto_scale_lr.base_batch_size to the '
        'batch size in use, all processes and accumulated iterations together',
    )
    return parser


def apply_training_options(config: Config, options: argparse.Namespace) -> None:
    """Write `--amp`, `--auto-scale-lr` and `--resume` into the config.

    A run without a checkpoint to go on from starts as the config says.

    Raises:
        ValueError: If the config does not have what an option changes.
    """
    if options.amp:
        wrapper = config.optim_wrapper.get('type', 'OptimWrapper')
        if wrapper not in (*AMP_WRAPPERS, *AMP_WRAPPERS.values()):
            raise ValueError(
                f'--amp knows optim_wrapper.type {", ".join(AMP_WRAPPERS)}, but the '
                f'config has {wrapper!r}; set its precision in the config'
            )
        config.optim_wrapper.type = AMP_WRAPPERS.get(wrapper, wrapper)
        config.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if options.auto_scale_lr:
        if 'base_batch_size' not in config.get('auto_scale_lr', {}):
            raise ValueError(
                '--auto-scale-lr needs auto_scale_lr.base_batch_size in the config'
            )
        config.auto_scale_lr.enable = True
        # MMEngine compares the base with the batch of one iteration.
        accumulated = config.optim_wrapper.get('accumulative_counts', 1)
        config.auto_scale_lr.base_batch_size /= accumulated
    if options.resume and options.resume != 'auto':
        config.resume = True
        config.load_from = options.resume
    elif options.resume or (config.get('resume') and not config.get('load_from')):
        resume_from_work_dir(config)


def check_start(model: nn.Module, checkpoint: str, resume: bool) -> None:
    """Refuse a checkpoint that cannot be read or is another model's.

    Args:
        model: What is to be trained.
        checkpoint: Path of the weights it starts from; an address is not read.
        resume: Whether every weight has to fit, or just some.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file cannot be read.
        CheckpointMismatchError: If the weights do not fit.
    """
    if '://' in checkpoint:
        return
    found = shapes_of(read_state_dict(checkpoint))
    expected = shapes_of(model.state_dict())
    problems = compare_weights(found, expected) if resume else []
    if problems:
        raise CheckpointMismatchError(
            f'{checkpoint} does not hold the weights of this model, so that the run '
            f'cannot go on from it: {"; ".join(problems)}. To start anew from those '
            'that fit: --cfg-options load_from=PATH'
        )
    if not any(expected.get(name) == shape for name, shape in found.items()):
        raise CheckpointMismatchError(
            f'load_from={checkpoint}: none of its {len(found)} weights fits the model '
            f'(found {next(iter(found))}, expected {next(iter(expected))}). Convert a '
            'foreign checkpoint with mmfdta convert'
        )


def main(arguments: list[str]) -> None:
    """Train as the arguments say.

    Raises:
        SystemExit: If the arguments, the config or the checkpoint are wrong, or a
            loss is not finite.
    """
    options = build_parser().parse_args(arguments)
    require_safe_loading()
    try:
        config = load_config(options)
        apply_training_options(config, options)
        check_config(config)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f'mmfdta train: {error}')
    join_processes(config)
    runner = Runner.from_cfg(config)
    accelerate(runner.model)
    try:
        if config.get('load_from'):
            model = getattr(runner.model, 'module', runner.model)
            check_start(model, config.load_from, config.resume)
        runner.train()
    except (CheckpointError, FileNotFoundError, NonFiniteLossError) as error:
        sys.exit(f'mmfdta train: {error}')
