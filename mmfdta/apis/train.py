# Copyright (c) mmfdta authors.
"""Train the model of a config: `python -m mmfdta train CONFIG`."""

import argparse
import sys

from mmengine.config import Config
from mmengine.runner import Runner

from mmfdta.apis.config import add_common_arguments, join_processes, load_config
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
    if options.resume:
        config.resume = True
        config.load_from = None if options.resume == 'auto' else options.resume


def main(arguments: list[str]) -> None:
    """Train as the arguments say.

    Raises:
        SystemExit: If the arguments or the config are wrong.
    """
    options = build_parser().parse_args(arguments)
    require_safe_loading()
    try:
        config = load_config(options)
        apply_training_options(config, options)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f'mmfdta train: {error}')
    join_processes(config)
    Runner.from_cfg(config).train()
