# Copyright (c) mmfdta authors.
"""Train the model of a config."""

import argparse

from .arguments import add_precision, add_run_arguments, meet_launcher


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_run_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from a checkpoint; without a path, from the last in the work '
        'dir',
    )
    add_precision(parser, 'train and validate in it')
    parser.add_argument(
        '--amp', action='store_true', help='another name of --precision fp16'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate from auto_scale_lr.base_batch_size to the '
        'batch size in use, all processes and accumulated iterations together',
    )


def run(options: argparse.Namespace) -> None:
    """Train."""
    meet_launcher(options)
    from mmfdta.apis.config import leave_processes, load_config
    from mmfdta.apis.train import apply_training_options, train

    config = load_config(
        options.config, options.cfg_options, options.work_dir, options.launcher
    )
    apply_training_options(
        config,
        options.resume,
        options.amp,
        options.auto_scale_lr,
        options.precision,
    )
    train(config)
    leave_processes()
