# Copyright (c) mmfdta authors.
"""Estimate the peak memory of training a config; no GPU is needed."""

import argparse
import sys
from collections.abc import Iterator

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from ..config import add_cfg_options
from ..model_loading import read_config
from .training_memory import Workload, estimate_memory

WRAPPERS_WITH_AMP = ('AmpOptimWrapper', 'GroupClipAmpOptimWrapper')


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser('estimate_memory.py', description=__doc__)
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
        '--objects', type=int, default=20, help='objects in a frame (default: 20)'
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
    return parser


def read_workload(config: Config, options: argparse.Namespace) -> Workload:
    """Find out what a training step works on.

    Args:
        config (Config): The config.
        options (argparse.Namespace): What the command line says about it.

    Returns:
        Workload: From the options, and for the rest from the config.

    Raises:
        ValueError: If the config does not tell the size of the images.
    """
    loader = config.train_dataloader
    steps = list(_steps(loader.dataset.get('pipeline', ())))
    size = options.size
    if size is None:
        resizes = [step for step in steps if step['type'] == 'ClipRandomResize']
        sizes = [
            (max(r['short_sides']), r['max_long']) for r in resizes if 'max_long' in r
        ]
        if not sizes:
            raise ValueError('the config does not limit the image size; give --size')
        size = max(sizes, key=lambda s: s[0] * s[1])
    length = options.clip_length
    if length is None:
        lengths = loader.sampler.get('lengths', 30)
        length = lengths if isinstance(lengths, int) else max(lengths.values())
    groups = [step.get('num_groups') for step in steps]
    height, width = size
    return Workload(
        height=height,
        width=width,
        clip_length=length,
        num_objects=options.objects,
        batch_size=loader.batch_size,
        num_groups=max(filter(None, groups), default=Workload.num_groups),
        amp=options.amp or config.optim_wrapper.get('type') in WRAPPERS_WITH_AMP,
        compiled_operators=not options.plain_operators,
    )


def _steps(pipeline: list) -> Iterator[dict]:
    """Walk through a pipeline and the alternatives in it."""
    for step in pipeline:
        if isinstance(step, dict):
            yield step
            yield from _steps(step.get('transforms', ()))
        else:
            yield from _steps(step)


def main(arguments: list[str]) -> None:
    """Print the estimate.

    Raises:
        SystemExit: If the arguments or the config are wrong.
    """
    options = build_parser().parse_args(arguments)
    try:
        config = read_config(options.config, options.cfg_options)
        if config.get('custom_imports'):
            import_modules_from_strings(**config.custom_imports)
        work = read_workload(config, options)
        estimate = estimate_memory(config, work)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f'estimate_memory.py: {error}')
    print(
        f'{work.batch_size} x {work.clip_length} frames of {work.height}x{work.width}, '
        f'{work.num_objects} objects each, {"AMP" if work.amp else "float32"}'
    )
    print(estimate.table())
