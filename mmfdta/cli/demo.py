# Copyright (c) mmfdta authors.
"""Render, train, track, compare: FDTA on a CPU in one command.

Trains the small FDTA on MiniDance from scratch, tracks the test sequences with
it, lets ByteTrack, OC-SORT and SORT track the same detections, and leaves
tables, plots, a video and the weights in the work dir. What an earlier run has
finished is reused; an interrupted training goes on.
"""

import argparse
from pathlib import Path

from .arguments import add_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_folders(parser, 'work_dirs/demo')
    parser.add_argument('--seed', type=int, default=0, help='seed of the training')
    parser.add_argument(
        '--processes', type=int, help='processes that render; default: one per core'
    )


def add_folders(parser: argparse.ArgumentParser, work_dir: str) -> None:
    """Add what the demo and the ablation share: their folders and settings.

    Args:
        parser: Receives the arguments.
        work_dir: Where results go if nothing else is said.
    """
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path(work_dir),
        help=f'folder for weights and results (default: {work_dir})',
    )
    parser.add_argument(
        '--data-root',
        type=Path,
        default=Path('data/minidance'),
        help='folder of MiniDance, rendered if missing (default: data/minidance)',
    )
    add_cfg_options(parser, 'settings to change in the configs of both trainings')


def run(options: argparse.Namespace) -> None:
    """Run the demo."""
    from mmfdta.minidance.demo import run_demo
    from mmfdta.minidance.training import DemoPlan

    plan = DemoPlan(
        options.work_dir,
        options.data_root,
        options.seed,
        options.cfg_options,
        options.processes,
    )
    run_demo(plan)
