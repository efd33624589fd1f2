# Copyright (c) mmfdta authors.
"""Estimate the peak memory of training a config; no GPU is needed."""

import argparse

from .arguments import add_cfg_options, add_precision, number

WAYS = dict(
    triton='the Triton kernels',
    compiled="MMCV's compiled operator",
    plain='plain PyTorch',
)


class _PlainOperators(argparse.Action):
    """Names what took the place of an option of 0.1."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.error(
            '--plain-operators: say --deformable triton for a GPU without compiled '
            'operators, or --deformable plain for one without Triton, too'
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('config', help='path of a config, or its name in mmfdta')
    parser.add_argument(
        '--size',
        type=number(1, whole=True),
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the images in the batch; the largest of the config if unset',
    )
    parser.add_argument(
        '--clip-length',
        type=number(1, whole=True),
        help='frames of a clip; those of the config if unset',
    )
    parser.add_argument(
        '--objects',
        type=number(1, whole=True),
        default=20,
        help='objects per frame (default: 20)',
    )
    add_precision(parser, 'train in it')
    parser.add_argument(
        '--amp', action='store_true', help='another name of --precision fp16'
    )
    parser.add_argument(
        '--deformable',
        choices=WAYS,
        help='deformable attention by the Triton kernels, which come with PyTorch for '
        "CUDA, by MMCV's compiled operator, or by plain PyTorch; what this machine's "
        'GPU takes if unset, and triton without one',
    )
    parser.add_argument(
        '--plain-operators', action=_PlainOperators, nargs=0, help=argparse.SUPPRESS
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
        options.precision or ('fp16' if options.amp else None),
        options.deformable,
    )
    estimate = estimate_memory(config, work)
    print(
        f'{work.batch_size} x {work.clip_length} frames of {work.height}x{work.width}, '
        f'{work.num_objects} objects each, '
        f'{"half precision" if work.amp else "float32"}, deformable attention by '
        f'{WAYS[work.deformable]}'
    )
    print(estimate.table())
