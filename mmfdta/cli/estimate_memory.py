# Copyright (c) mmfdta authors.
"""Estimate the peak memory of training a config; no GPU is needed."""

import argparse

from .arguments import add_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('config', help='path of a config, or its name in mmfdta')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the images in the batch; the largest of the config if unset',
    )
    parser.add_argument(
        '--clip-length', type=int, help='frames of a clip; those of the config if unset'
    )
    parser.add_argument(
        '--objects', type=int, default=20, help='objects per frame (default: 20)'
    )
    parser.add_argument(
        '--amp', action='store_true', help='train with automatic mixed precision'
    )
    parser.add_argument(
        '--plain-operators',
        action='store_true',
        help="MMCV's operators are not compiled on the machine that trains",
    )
    add_cfg_options(
        parser, 'settings to change, such as model.clip_detection.grad_chunk=1'
    )


def run(options: argparse.Namespace) -> None:
    """Print the estimate."""
    from mmfdta.apis.analysis.training_memory import estimate_memory, read_workload
    from mmfdta.apis.config import read_config

    config = read_config(options.config, options.cfg_options)
    work = read_workload(
        config,
        options.size,
        options.clip_length,
        options.objects,
        options.amp,
        not options.plain_operators,
    )
    estimate = estimate_memory(config, work)
    print(
        f'{work.batch_size} x {work.clip_length} frames of {work.height}x{work.width}, '
        f'{work.num_objects} objects each, {"AMP" if work.amp else "float32"}'
    )
    print(estimate.table())
